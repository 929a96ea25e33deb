// A trained model with simulated quantized weights and activations, and back: docs/quantization.md.
//
//   ASSIGN_OR_RETURN(const std::vector<Batch> batches, ReadBatches(source, 16, 32));
//   ASSIGN_OR_RETURN(auto quantized, PostTrainingQuantization::Apply(engine, batches, options));
//   … evaluate with &quantized->activations() as observer …
//   RETURN_IF_ERROR(quantized->Remove());
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "data/batch_source.h"
#include "quantize/fake_quantizer.h"
#include "quantize/weight_quantizer.h"
#include "train/engine.h"

namespace sluice {

struct PostTrainingQuantizationOptions {
  static constexpr int kNotQuantized = 32;  // bits that leave weights or activations as they are

  WeightQuantizerOptions weights;
  FakeQuantizerOptions activations;  // quantize_… and context_before_gate are set by Apply
};

// What the papers' INT8 numbers were made with.
struct QuantizationPreset {
  PostTrainingQuantizationOptions options;
  bool calibrates_on_training_data;  // shuffled; else on the data that is evaluated, in order
  int64_t calibration_batches, calibration_batch_size;
};
QuantizationPreset BertPreset();
QuantizationPreset OptPreset();

// The first `batches` batches of `source`, or as many as it has.
absl::StatusOr<std::vector<Batch>> ReadBatches(BatchSource& source, int64_t batches,
                                               int64_t batch_size);

class PostTrainingQuantization {
 public:
  // Quantizes the weights and calibrates the activations' quantizers. The engine is fp32.
  // UsageError for a model whose quantization is not defined.
  static absl::StatusOr<std::unique_ptr<PostTrainingQuantization>> Apply(
      Engine& engine, std::span<const Batch> calibration,
      const PostTrainingQuantizationOptions& options);

  Observer& activations() { return *activations_; }
  // Of all tensors that are quantized: activations' since Apply.
  std::vector<QuantizationError> errors() const;
  // Gives the model its weights back, bit by bit.
  absl::Status Remove();

 private:
  explicit PostTrainingQuantization(Engine& engine, const WeightQuantizerOptions& weights)
      : engine_(engine), weights_(weights) {}

  Engine& engine_;
  WeightQuantizer weights_;
  bool quantizes_weights_ = false;
  std::unique_ptr<FakeQuantizer> activations_;
};

// SmoothQuant, with channel maxima of `calibration` (quantize/smoothing.h): the model stays the
// same function. UsageError for post-LN models.
absl::Status SmoothModel(Engine& engine, std::span<const Batch> calibration, double alpha);

}  // namespace sluice
