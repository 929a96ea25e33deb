#include "quantize/smoothing.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/status.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

// Which channel of the C a weight's element reads.
int64_t ChannelOf(const TensorView& weight, int64_t C, int64_t row, int64_t column) {
  const int64_t slices = C / weight.dim(-1);
  return row * slices / weight.rows() * weight.dim(-1) + column;
}

std::vector<float> Scales(const std::vector<TensorView>& weights, const std::vector<float>& maxima,
                          double alpha) {
  constexpr float kSmallest = 1e-5f;  // a channel of zeros gives no scale
  const int64_t C = std::ssize(maxima);
  std::vector<float> scales(C);
  for (const TensorView& weight : weights) {
    for (int64_t row = 0; row < weight.rows(); ++row) {
      for (int64_t column = 0; column < weight.dim(-1); ++column) {
        float& largest = scales[ChannelOf(weight, C, row, column)];
        largest = std::max(largest, std::abs(weight.as<float>()[row * weight.dim(-1) + column]));
      }
    }
  }
  for (int64_t c = 0; c < C; ++c) {
    const double x = std::max(maxima[c], kSmallest), w = std::max(scales[c], kSmallest);
    scales[c] = static_cast<float>(std::pow(x, alpha) / std::pow(w, 1 - alpha));
  }
  return scales;
}

}  // namespace

bool ChannelMaxima::Wants(absl::string_view tensor) const {
  return tensor == observed::kEmbeddingNorm || tensor == observed::kAttentionNorm ||
         tensor == observed::kFeedForwardNorm;
}

void ChannelMaxima::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  std::vector<float>& maxima = maxima_[{layer, std::string(tensor)}];
  maxima.resize(view.dim(-1));
  for (int64_t row = 0; row < view.rows(); ++row) {
    const float* x = view.as<float>() + row * view.row_stride();
    for (int64_t c = 0; c < view.dim(-1); ++c) maxima[c] = std::max(maxima[c], std::abs(x[c]));
  }
}

const std::vector<float>& ChannelMaxima::At(int layer, const std::string& tensor) const {
  const auto found = maxima_.find({layer, tensor});
  CHECK(found != maxima_.end()) << tensor << " was not observed";
  return found->second;
}

absl::Status Smooth(const std::vector<SmoothingGroup>& groups, const ChannelMaxima& maxima,
                    double alpha, Device& device, const ParameterStore& parameters) {
  CHECK(alpha > 0 && alpha < 1);
  ASSIGN_OR_RETURN(HostTensor masters, HostTensor::Read(device, parameters.flat_master()));
  const auto values_of = [&](int index) {
    const Parameter& parameter = parameters.parameters()[index];
    return TensorView::Of(masters.view().as<float>() + parameter.offset, parameter.shape);
  };
  for (const SmoothingGroup& group : groups) {
    std::vector<TensorView> weights;
    for (const int index : group.weights) weights.push_back(values_of(index));
    const std::vector<float> scales = Scales(weights, maxima.At(group.layer, group.tensor), alpha);
    for (const int index : {group.gamma, group.beta}) {
      float* values = values_of(index).as<float>();
      for (size_t c = 0; c < scales.size(); ++c) values[c] /= scales[c];
    }
    for (const TensorView& weight : weights) {
      for (int64_t i = 0; i < weight.elements(); ++i) {
        const int64_t row = i / weight.dim(-1), column = i % weight.dim(-1);
        weight.as<float>()[i] *= scales[ChannelOf(weight, std::ssize(scales), row, column)];
      }
    }
  }
  return masters.Store();
}

}  // namespace sluice
