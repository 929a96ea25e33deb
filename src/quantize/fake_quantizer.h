// Activations of a pass quantized and dequantized on their way, as an Observer: which, in which
// order, is docs/quantization.md. fp32 passes without backward.
//
//   FakeQuantizer activations(options, weights.token_table());
//   … evaluate the calibration batches with &activations: every quantizer first takes each tensor
//     into its range and then quantizes with it, so later ones calibrate on quantized inputs …
//   activations.Freeze();
//   … evaluate with &activations …
//
// Quantized are q, k, v, scores (before the mask), probabilities, context, attention output, both
// residual sums, both norms, the activated and the second output of the feed-forward: 13 a layer;
// and the embeddings. Not: gates, sinks, and what a head does.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/observer.h"
#include "quantize/quantization_error.h"
#include "quantize/range_estimator.h"
#include "quantize/stepwise_attention.h"

namespace sluice {

enum class ActivationMethod { kAsymmetric, kSymmetric };
enum class ActivationRanges { kRunning, kCurrent /* of the last calibration batch */ };
// LayerNorms whose gamma and output have 16 bits, where weights and activations are quantized:
// none, the last one (its output is what the head reads), all.
enum class SixteenBitNorms { kNone, kFinal, kAll };
absl::string_view NameOf(SixteenBitNorms norms);  // none, final, all

struct FakeQuantizerOptions {
  int bits = 8;
  bool quantize_activations = true;  // false: the token table's rows only
  bool quantize_weights = true;      // false: the token table's rows stay as they are
  ActivationMethod method = ActivationMethod::kAsymmetric;
  ActivationRanges ranges = ActivationRanges::kRunning;
  double percentile = 100;  // above 50; 100: minimum and maximum
  SixteenBitNorms sixteen_bit_norms = SixteenBitNorms::kNone;
  int last_layer = -1;  // behind which the final LayerNorm is
  // The context is quantized before a gate at the query site, and the gated product is not
  // (pre-LN, OPT); else behind it (BERT).
  bool context_before_gate = false;
  // A gate from the values reads quantized ones; false: those of before.
  bool gate_reads_quantized_value = true;
};

class FakeQuantizer : public Observer {
 public:
  FakeQuantizer(const FakeQuantizerOptions& options, const UniformQuantizer& token_table);

  bool Wants(absl::string_view tensor) const override;
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;
  bool changes_values() const override { return true; }
  AttentionLook attention_look() const override {
    return options_.quantize_activations ? AttentionLook::kReplace : AttentionLook::kNone;
  }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override;

  // Ends calibration: ranges stay as they are from here on, and errors are counted. DivergedError
  // where the model's values on the calibration data were not finite.
  absl::Status Freeze();

  // After Freeze: errors are not counted any more, which is faster.
  void StopCounting() { counting_ = false; }
  // After Freeze: of a tensor of a layer, by the names of errors(); null: it is not quantized.
  const UniformQuantizer* Find(int layer, const std::string& tensor) const;
  // Of each quantizer since Freeze, in the order of a pass.
  std::vector<QuantizationError> errors() const;

 private:
  struct Quantizer {
    RunningRange range;
    UniformQuantizer quantizer;
    QuantizationError error;
    int order;
  };
  void Quantize(int layer, const std::string& tensor, const TensorView& view);
  int BitsOf(int layer, absl::string_view tensor) const;
  void UpdateRange(Quantizer& quantizer, const TensorView& view) const;

  FakeQuantizerOptions options_;
  UniformQuantizer token_table_;
  bool calibrating_ = true, counting_ = true;
  std::map<std::pair<int, std::string>, Quantizer> quantizers_;
  StepwiseAttention attention_;
  std::vector<float> values_;  // v, quantized behind the gate
};

}  // namespace sluice
