// BERT's masked-language-model head, for the masked positions alone and in chunks of rows, so that
// logits of the whole batch never exist:
//
//   h = LayerNorm(f(x[positions] · W_tᵀ + b_t));   logits = h · Eᵀ + b    (E: the token embedding
//   table, tied) loss = Σ cross-entropy(logits, targets), in nats, summed over targets
//
// Each chunk goes forward and, when training, backward at once: its logits' gradient replaces them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/model_build.h"
#include "ops/activation.h"
#include "ops/linear.h"

namespace sluice {

struct MaskedLmHeadConfig {
  int64_t vocab_size, hidden_size;
  Activation activation;
  float layer_norm_eps;
  InitialValues weight;
  double expected_target_share;  // of a batch's tokens: sizes the chunk
};

// Sums over targets; the mean is taken where all ranks and micro-batches are known.
struct LossSums {
  double loss = 0;  // nats
  int64_t targets = 0;
  int64_t correct = 0;  // targets whose most probable token is the right one
};

class MaskedLmHead {
 public:
  // Adds its parameters; `name` is "cls.predictions".
  MaskedLmHead(const ModelBuild& build, const std::string& name, const MaskedLmHeadConfig& config);

  // token_table: index of the tied embedding.
  void Bind(const ParameterStore& parameters, int token_table);
  void WeightsChanged();

  // hidden (N, C). positions: rows of hidden that are targets; targets: their ids, the same number.
  // Adds to `sums`. When dhidden is not null, also runs backward: adds to the parameters' gradients
  // and writes those rows of dhidden (N, C), which the caller has zeroed.
  absl::Status Forward(ExecutionContext& context, const TensorView& hidden,
                       const std::vector<int32_t>& positions, const std::vector<int32_t>& targets,
                       const TensorView& dhidden, LossSums& sums);

  // Logits (positions, V) in the accumulator's dtype for at most chunk_rows() positions:
  // prediction. Lives until the next call.
  absl::StatusOr<TensorView> Logits(ExecutionContext& context, const TensorView& hidden,
                                    const std::vector<int32_t>& positions);
  int64_t chunk_rows() const { return chunk_rows_; }

  int64_t gradient_begin() const { return gradient_begin_; }
  int64_t gradient_end() const { return gradient_end_; }

 private:
  struct Chunk {
    TensorView rows, targets;  // (M) int32
    int64_t M;                 // padded to a multiple of 64
  };
  Chunk LoadChunk(const std::vector<int32_t>& positions, const std::vector<int32_t>* targets,
                  int64_t begin);
  absl::Status ForwardChunk(ExecutionContext& context, const TensorView& hidden,
                            const Chunk& chunk);
  absl::Status BackwardChunk(ExecutionContext& context, const Chunk& chunk,
                             const TensorView& dlogits, const TensorView& dhidden);

  MaskedLmHeadConfig config_;
  int64_t gradient_begin_, gradient_end_;
  int64_t chunk_rows_;
  int decoder_bias_, norm_weight_, norm_bias_, transform_weight_, transform_bias_;
  ops::Linear transform_, decoder_;
  const ParameterStore* parameters_ = nullptr;
  const TensorView *rows_, *targets_;                                    // (chunk) int32
  const TensorView *gathered_, *pre_activation_, *activated_, *normed_;  // (chunk, C)
  const TensorView *mean_, *rstd_;                                       // (chunk)
  const TensorView* logits_;  // (chunk, V), accumulator dtype
  const TensorView* dlogits_ =
      nullptr;  // (chunk, V); null without training, the logits' own memory when dtypes are equal
  const TensorView* dnormed_ = nullptr;  // (chunk, C)
};

}  // namespace sluice
