// What the parts of a model are built with and run on.
#pragma once

#include <cstdint>

#include "model/observer.h"
#include "ops/attention.h"
#include "ops/execution_context.h"
#include "runtime/parameter.h"

namespace sluice {

// Planning: where parts reserve memory and add parameters. Lives as long as the model is being
// built.
struct ModelBuild {
  ExecutionContext& context;
  Arena& arena;
  ParameterStore& parameters;
  DType dtype;        // of working weights and activations: bf16, fp32, or fp64 for the reference
  int64_t max_batch;  // rows of the largest batch
  int64_t length;     // tokens of the longest sequence
  int64_t registers;  // R: register tokens before each sequence
  bool train;         // backward will be called
  // What activations are reserved as: a head keeps none of them from chunk to chunk.
  MemoryPurpose activations = MemoryPurpose::kActivations;

  int64_t row_length() const { return registers + length; }
  int64_t max_rows() const { return max_batch * row_length(); }  // N: rows of hidden states
  const TensorView* Activation(absl::string_view name, const Shape& shape) const {
    return arena.Reserve(name, activations, dtype, shape);
  }
  const TensorView* Statistic(absl::string_view name, const Shape& shape) const {
    return arena.Reserve(name, activations, AccumulatorDType(dtype), shape);
  }
  const TensorView* Scratch(absl::string_view name, const Shape& shape) const {
    return arena.Reserve(name, MemoryPurpose::kScratch, dtype, shape);
  }
};

// One pass over one batch: what every layer needs to know about it.
struct ForwardPass {
  int64_t B = 0;          // sequences
  int64_t T = 0;          // rows of hidden states a sequence, registers included
  int64_t registers = 0;  // R: the first rows of each sequence
  AttentionMask mask;
  bool dropout_enabled = false;           // training
  uint64_t seed = 0;                      // of the run: keys the dropout
  const int64_t* sample_index = nullptr;  // (B); memory of the device, as what the mask points to
  Observer* observer = nullptr;           // may be null

  int64_t rows() const { return B * T; }  // N
  // Row of hidden states of the batch's token b·(T - R) + t.
  int64_t RowOfToken(int64_t token) const {
    return token + (token / (T - registers) + 1) * registers;
  }
};

// The uses of dropout in a model, told apart: part of the reproducibility contract, never renumber.
enum class DropoutSite : uint32_t {
  kEmbedding = 0,
  kAttentionProbs = 1,
  kAttentionOutput = 2,
  kFeedForward = 3
};

// layer: 0-based; the embedding is layer -1.
inline Dropout MakeDropout(const ForwardPass& pass, double probability, int layer,
                           DropoutSite site) {
  if (!pass.dropout_enabled || probability == 0) return Dropout{};
  const auto instance = static_cast<uint32_t>(layer + 1) * 4 + static_cast<uint32_t>(site);
  return Dropout{.probability = static_cast<float>(probability),
                 .key = MakePhiloxKey(pass.seed, RandomPurpose::kDropout, instance),
                 .sample_index = pass.sample_index,
                 .rows_per_sample = pass.T};
}

}  // namespace sluice
