// What the papers' evaluations print, out of the outliers of all tensors. The row units are theirs:
// Hugging Face's OPT flattens (B, T, C) to (B·T, C) before the feed-forward, so what is hooked
// there has tokens as rows and everything else sequences (docs/metrics.md).
#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "telemetry/outlier_metrics.h"

namespace sluice {
namespace {

PublishedTensor FindInBert(int layer, const std::string& tensor) {
  const std::string prefix = absl::StrCat("bert.encoder.layer.", layer, ".output.");
  if (layer < 0) return {};
  if (tensor == observed::kFeedForwardOutput) return {prefix + "dense"};
  if (tensor == observed::kFeedForwardNorm) return {prefix + "LayerNorm"};
  return {};
}

// A layer's first LayerNorm reads what the layer before has added to the stream, so that our norm
// behind layer n is their self_attn_layer_norm of layer n + 1.
PublishedTensor FindInOpt(int layer, const std::string& tensor, int64_t layers) {
  const std::string decoder = "model.decoder.";
  const std::string prefix = absl::StrCat(decoder, "layers.", layer);
  const auto first_norm = [&decoder](int of) {
    return absl::StrCat(decoder, "layers.", of, ".self_attn_layer_norm");
  };
  if (tensor == observed::kEmbeddingNorm) return {first_norm(0)};
  if (layer < 0) return {};
  if (tensor == observed::kAttentionOutput) return {prefix + ".self_attn.out_proj"};
  if (tensor == observed::kAttentionNorm) return {prefix + ".final_layer_norm", true};
  if (tensor == observed::kFeedForwardOutput) return {prefix + ".fc2", true};
  if (tensor == observed::kFeedForwardSum) return {prefix};
  if (tensor == observed::kFeedForwardNorm) {
    return {layer + 1 < layers ? first_norm(layer + 1) : decoder + "final_layer_norm"};
  }
  return {};
}

// A reduction over some of the tensors, each in its row unit.
using Choose = std::function<const RowOutliers*(const TensorOutliers&)>;

Choose Sequences(absl::string_view name) {
  return [name](const TensorOutliers& tensor) {
    return tensor.tensor == name ? &tensor.sequence : nullptr;
  };
}
Choose Tokens(absl::string_view name) {
  return [name](const TensorOutliers& tensor) {
    return tensor.tensor == name ? &tensor.token : nullptr;
  };
}

class Reduction {
 public:
  Reduction(const std::vector<TensorOutliers>& tensors, const Choose& choose) {
    for (const TensorOutliers& tensor : tensors) {
      const RowOutliers* rows = choose(tensor);
      if (rows == nullptr) continue;
      largest_norm_ = Larger(largest_norm_, rows->inf_norm);
      largest_kurtosis_ = Larger(largest_kurtosis_, rows->kurtosis);
      kurtosis_ += rows->kurtosis;
      ++count_;
    }
  }
  double MaxInfNorm() const { return largest_norm_; }
  double MaxKurtosis() const { return largest_kurtosis_; }
  double AverageKurtosis() const { return count_ == 0 ? 0 : kurtosis_ / count_; }

 private:
  static double Larger(double a, double b) { return std::isnan(b) || b > a ? b : a; }
  double largest_norm_ = 0, largest_kurtosis_ = 0, kurtosis_ = 0;
  int count_ = 0;
};

std::vector<NamedOutlierMetric> BertMetrics(const std::vector<TensorOutliers>& tensors,
                                            const Reduction& published) {
  const auto max_norm = [&](absl::string_view name) {
    return Reduction(tensors, Sequences(name)).MaxInfNorm();
  };
  return {{"max_inf_norm_feed_forward_output_per_sequence", max_norm(observed::kFeedForwardOutput),
           "max FFN output inf norm"},
          {"max_inf_norm_feed_forward_residual_sum_per_sequence",
           max_norm(observed::kFeedForwardSum), "max FFN input + output inf norm; Max I+O Norm"},
          {"max_inf_norm_feed_forward_norm_per_sequence", max_norm(observed::kFeedForwardNorm),
           "max LN(FFN i + o) inf norm"},
          {"average_kurtosis_feed_forward_output_and_norm_per_sequence",
           published.AverageKurtosis(), "Avg Kurtosis"},
          {"max_kurtosis_feed_forward_output_and_norm_per_sequence", published.MaxKurtosis(),
           "Max Kurtosis"}};
}

std::vector<NamedOutlierMetric> OptMetrics(const std::vector<TensorOutliers>& tensors,
                                           const Reduction& published) {
  const Reduction layers(tensors, Sequences(observed::kFeedForwardSum));
  return {{"max_inf_norm_all_tensors_mixed_rows", published.MaxInfNorm(),
           "Max inf norm; Max I+O Norm with INT8"},
          {"max_inf_norm_feed_forward_output_per_token",
           Reduction(tensors, Tokens(observed::kFeedForwardOutput)).MaxInfNorm(),
           "Max FFN inf norm; Max I+O Norm with FP32"},
          {"max_inf_norm_layer_output_per_sequence", layers.MaxInfNorm(), "Max layer inf norm"},
          {"max_inf_norm_attention_residual_sum_per_token",
           Reduction(tensors, Tokens(observed::kAttentionSum)).MaxInfNorm(),
           "input of the LayerNorm before the FFN"},
          {"average_kurtosis_all_tensors_mixed_rows", published.AverageKurtosis(), "Avg Kurtosis"},
          {"max_kurtosis_all_tensors_mixed_rows", published.MaxKurtosis(), "Max Kurtosis"},
          {"max_kurtosis_layer_output_per_sequence", layers.MaxKurtosis(), "Max Kurtosis layers"}};
}

}  // namespace

PublishedTensor FindPublishedTensor(int layer, const std::string& tensor, int64_t layers,
                                    bool pre_norm) {
  return pre_norm ? FindInOpt(layer, tensor, layers) : FindInBert(layer, tensor);
}

std::vector<NamedOutlierMetric> NamedOutlierMetrics(const std::vector<TensorOutliers>& tensors,
                                                    bool pre_norm) {
  int64_t layers = 0;
  for (const TensorOutliers& tensor : tensors) layers = std::max<int64_t>(layers, tensor.layer + 1);
  const Reduction published(tensors, [&](const TensorOutliers& tensor) -> const RowOutliers* {
    const PublishedTensor place =
        FindPublishedTensor(tensor.layer, tensor.tensor, layers, pre_norm);
    if (place.huggingface_name.empty()) return nullptr;
    return place.per_token ? &tensor.token : &tensor.sequence;
  });
  return pre_norm ? OptMetrics(tensors, published) : BertMetrics(tensors, published);
}

}  // namespace sluice
