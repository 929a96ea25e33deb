// A trained model with simulated quantized weights and activations, and back: docs/quantization.md.
//
//   ASSIGN_OR_RETURN(const std::vector<Batch> batches, ReadBatches(source, 16, 32));
//   ASSIGN_OR_RETURN(auto quantized, PostTrainingQuantization::Apply(engine, batches, options));
//   … evaluate with &quantized->activations() as observer …
//   RETURN_IF_ERROR(quantized->Remove());
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/batch_source.h"
#include "quantize/fake_quantizer.h"
#include "quantize/integer_layers.h"
#include "quantize/weight_quantizer.h"
#include "train/engine.h"

namespace sluice {

// A gate at the query site multiplies before the quantizer of the context or behind it. By the
// model: before in post-LN ones (BERT), behind in pre-LN ones (OPT), as published.
enum class GatePosition { kByModel, kBefore, kBehind };

struct PostTrainingQuantizationOptions {
  static constexpr int kNotQuantized = 32;  // bits that leave weights or activations as they are

  WeightQuantizerOptions weights;
  // quantize_…, context_before_gate and last_layer are set by Apply; by
  // activations.sixteen_bit_norms it sets weights.sixteen_bit.
  FakeQuantizerOptions activations;
  GatePosition gate_position = GatePosition::kByModel;
};

// Whether the context is quantized before a gate at the query site, and the gated product not.
bool QuantizesContextBeforeGate(const PostTrainingQuantizationOptions& options, bool pre_norm);

// A linear layer of a block: its weights, joined to one, and what it reads.
struct QuantizedLayer {
  std::vector<std::string> weights;  // names of parameters
  int input_layer;                   // under which
  std::string input;                 // … and as which the quantizer of its input is known;
                                     // empty: it is not quantized
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

// Which linear layers of a model's blocks have products in integers.
struct IntegerCoverage {
  int64_t layers = 0, in_integers = 0;  // query, key and value are one layer
  std::vector<std::string> in_fp32;     // weights of the others
};

class PostTrainingQuantization {
 public:
  ~PostTrainingQuantization();
  // Quantizes the weights and calibrates the activations' quantizers. The engine is fp32.
  // UsageError for a model whose quantization is not defined.
  static absl::StatusOr<std::unique_ptr<PostTrainingQuantization>> Apply(
      Engine& engine, std::span<const Batch> calibration,
      const PostTrainingQuantizationOptions& options);

  Observer& activations() { return *activations_; }
  // From here on linear layers whose weight and input are quantized multiply in integers
  // (quantize/integer_layers.h), and activation_errors() does not go on counting; until Remove.
  // UsageError on a GPU, and for bits other than 8.
  absl::StatusOr<IntegerCoverage> UseIntegers();
  // The same on every rank;
  const std::vector<QuantizationError>& weight_errors() const { return weights_.errors(); }
  // of what this rank has evaluated since Apply.
  std::vector<QuantizationError> activation_errors() const;
  // Gives the model its weights back, bit by bit.
  absl::Status Remove();

 private:
  PostTrainingQuantization(Engine& engine, const PostTrainingQuantizationOptions& options);
  bool AddLayer(const QuantizedLayer& layer);
  void StopIntegers();

  Engine& engine_;
  PostTrainingQuantizationOptions options_;
  WeightQuantizer weights_;
  bool quantizes_weights_ = false;
  std::unique_ptr<FakeQuantizer> activations_;
  std::unique_ptr<IntegerLayers> integers_;  // null: products are fp32
};

// SmoothQuant, with channel maxima of `calibration` (quantize/smoothing.h): the model stays the
// same function. UsageError for post-LN models.
absl::Status SmoothModel(Engine& engine, std::span<const Batch> calibration, double alpha);

}  // namespace sluice
