// Weights of a model replaced by quantized ones, with a way back: those of Linear layers,
// embeddings and LayerNorms (gamma); no bias, no beta, nothing of a gate, a sink or a head.
// Symmetric.
//
//   WeightQuantizer weights(options);
//   RETURN_IF_ERROR(weights.Quantize(device, parameters));   then Engine::WeightsLoaded
//   RETURN_IF_ERROR(weights.Restore(device, parameters));    the same bits as before
//
// The token table stays as it is, because a tied decoder reads it and heads are fp32: FakeQuantizer
// quantizes the rows that are looked up with token_table(), which is the same.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "quantize/quantization_error.h"
#include "runtime/parameter.h"

namespace sluice {

enum class WeightRanges { kMinMax, kLeastSquares };

struct WeightQuantizerOptions {
  int bits = 8;
  WeightRanges ranges = WeightRanges::kMinMax;
  bool per_channel = false;  // a range for each output of a Linear layer; elsewhere a tensor's
  std::vector<std::string> sixteen_bit = {};  // parameters that have 16 bits instead
};

enum class WeightRole { kNotQuantized, kLinear, kEmbedding, kTokenTable, kNorm };

// By a parameter's name and rank. Of names that Hugging Face and the Bigram-Backcopy model have.
WeightRole RoleOfWeight(const Parameter& parameter);

class WeightQuantizer {
 public:
  explicit WeightQuantizer(const WeightQuantizerOptions& options) : options_(options) {}

  // fp32 masters, of which the working weights are no other copy.
  absl::Status Quantize(Device& device, const ParameterStore& parameters);
  absl::Status Restore(Device& device, const ParameterStore& parameters);

  const UniformQuantizer& token_table() const { return token_table_; }
  // Of a linear layer's weight (M, K), for each of its rows.
  const std::vector<UniformQuantizer>& RowsOf(const std::string& parameter) const;
  // Of every tensor that was quantized; the token table's over all of its rows.
  const std::vector<QuantizationError>& errors() const { return errors_; }

 private:
  UniformQuantizer Fit(const Parameter& parameter, const TensorView& values) const;
  void QuantizeOne(const Parameter& parameter, WeightRole role, const TensorView& values);

  WeightQuantizerOptions options_;
  UniformQuantizer token_table_;
  std::vector<float> before_;  // all masters; empty: nothing is quantized
  std::map<std::string, std::vector<UniformQuantizer>> rows_;  // of linear layers, by name
  std::vector<QuantizationError> errors_;
};

}  // namespace sluice
