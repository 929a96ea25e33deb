#include "quantize/fake_quantizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"

namespace sluice {
namespace {

constexpr std::array<absl::string_view, 10> kQuantizedAsShown = {
    observed::kTokenAndSegment, observed::kEmbeddingSum,      observed::kEmbeddingNorm,
    observed::kAttentionOutput, observed::kAttentionSum,      observed::kAttentionNorm,
    observed::kActivated,       observed::kFeedForwardOutput, observed::kFeedForwardSum,
    observed::kFeedForwardNorm};

bool IsQuantizedAsShown(absl::string_view tensor) {
  return std::find(kQuantizedAsShown.begin(), kQuantizedAsShown.end(), tensor) !=
         kQuantizedAsShown.end();
}

}  // namespace

absl::string_view NameOf(SixteenBitNorms norms) {
  switch (norms) {
    case SixteenBitNorms::kNone:
      return "none";
    case SixteenBitNorms::kFinal:
      return "final";
    case SixteenBitNorms::kAll:
      return "all";
  }
  return "";
}

FakeQuantizer::FakeQuantizer(const FakeQuantizerOptions& options,
                             const UniformQuantizer& token_table)
    : options_(options), token_table_(token_table) {}

bool FakeQuantizer::Wants(absl::string_view tensor) const {
  if (tensor == observed::kTokenEmbedding) return true;
  if (!options_.quantize_activations) return false;
  return IsQuantizedAsShown(tensor) || tensor == observed::kQueryKeyValue ||
         (tensor == observed::kContext && !options_.context_before_gate);
}

int FakeQuantizer::BitsOf(int layer, absl::string_view tensor) const {
  const bool final = layer == options_.last_layer && tensor == observed::kFeedForwardNorm;
  const bool norm = tensor == observed::kEmbeddingNorm || tensor == observed::kAttentionNorm ||
                    tensor == observed::kFeedForwardNorm;
  const SixteenBitNorms norms = options_.sixteen_bit_norms;
  const bool sixteen =
      (norms == SixteenBitNorms::kFinal && final) || (norms == SixteenBitNorms::kAll && norm);
  return sixteen ? 16 : options_.bits;
}

void FakeQuantizer::UpdateRange(Quantizer& quantizer, const TensorView& view) const {
  const ValueRange batch =
      options_.percentile < 100 ? PercentileRange(view, options_.percentile) : MinMaxRange(view);
  if (options_.ranges == ActivationRanges::kCurrent) quantizer.range = RunningRange();
  quantizer.range.Update(batch);
  const int bits = BitsOf(quantizer.error.layer, quantizer.error.tensor);
  quantizer.quantizer = options_.method == ActivationMethod::kAsymmetric
                            ? UniformQuantizer::Asymmetric(quantizer.range.range(), bits)
                            : UniformQuantizer::Symmetric(quantizer.range.range(), bits);
}

void FakeQuantizer::Quantize(int layer, const std::string& tensor, const TensorView& view) {
  const auto [place, is_new] = quantizers_.try_emplace(std::pair(layer, tensor));
  Quantizer& quantizer = place->second;
  if (is_new) {
    CHECK(calibrating_) << tensor << " was not calibrated";
    quantizer.order = static_cast<int>(quantizers_.size());
    quantizer.error.layer = layer;
    quantizer.error.tensor = tensor;
  }
  if (calibrating_) UpdateRange(quantizer, view);
  if (counting_) {
    QuantizeInPlace(quantizer.quantizer, view, quantizer.error);
  } else {
    QuantizeInPlace(quantizer.quantizer, view);
  }
}

void FakeQuantizer::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  if (tensor == observed::kTokenEmbedding) {
    if (!options_.quantize_weights) return;
    QuantizeInPlace(token_table_, view);  // counted with the table
    return;
  }
  if (tensor == observed::kQueryKeyValue) {
    const int64_t C = view.dim(-1) / 3;
    Quantize(layer, "attention.query", view.Columns(0, C));
    Quantize(layer, "attention.key", view.Columns(C, C));
    if (options_.gate_reads_quantized_value) {
      Quantize(layer, "attention.value", view.Columns(2 * C, C));
    }
  } else if (IsQuantizedAsShown(tensor) || tensor == observed::kContext) {
    Quantize(layer, std::string(tensor), view);
  }
}

absl::Status FakeQuantizer::ObserveAttention(int layer, const ObservedAttention& attention) {
  const int64_t C = attention.H * attention.D, N = attention.B * attention.T;
  TensorView values = attention.qkv.Columns(2 * C, C);
  if (!options_.gate_reads_quantized_value) {
    values_.resize(N * C);
    for (int64_t row = 0; row < N; ++row) {
      std::copy_n(values.as<float>() + row * values.row_stride(), C, values_.data() + row * C);
    }
    values = TensorView::Of(values_.data(), {N, C});
    Quantize(layer, "attention.value", values);
  }
  AttentionSteps steps = {
      .scores = [&](const TensorView& rows) { Quantize(layer, "attention.scores", rows); },
      .probabilities =
          [&](const TensorView& rows) { Quantize(layer, "attention.probabilities", rows); },
      .context = nullptr};
  if (options_.context_before_gate) {
    steps.context = [&](const TensorView& rows) {
      Quantize(layer, std::string(observed::kContext), rows);
    };
  }
  // A range is one of a whole batch; once it is known, a sequence at a time takes less memory.
  attention_.Run(attention, values, calibrating_ ? attention.B : 1, steps);
  return absl::OkStatus();
}

absl::Status FakeQuantizer::Freeze() {
  calibrating_ = false;
  for (auto& [key, quantizer] : quantizers_) {
    quantizer.error.signal = 0;
    quantizer.error.noise = 0;
    const auto [low, high] = quantizer.range.range();
    if (std::isfinite(low) && std::isfinite(high)) continue;
    return DivergedError("the model's values on the calibration data are not finite",
                         absl::StrCat("layer ", key.first, ", ", key.second),
                         absl::StrCat("from ", low, " to ", high));
  }
  return absl::OkStatus();
}

const UniformQuantizer* FakeQuantizer::Find(int layer, const std::string& tensor) const {
  CHECK(!calibrating_);
  const auto found = quantizers_.find({layer, tensor});
  return found == quantizers_.end() ? nullptr : &found->second.quantizer;
}

std::vector<QuantizationError> FakeQuantizer::errors() const {
  std::vector<const Quantizer*> ordered(quantizers_.size());
  for (const auto& [key, quantizer] : quantizers_) ordered[quantizer.order - 1] = &quantizer;
  std::vector<QuantizationError> errors;
  for (const Quantizer* quantizer : ordered) errors.push_back(quantizer->error);
  return errors;
}

}  // namespace sluice
