// From hidden states to tokens, for the positions that the loss looks at alone and in chunks of
// rows, so that logits of the whole batch never exist:
//
//   h      = LayerNorm(f(x · W_tᵀ + b_t))    BERT's transform; elsewhere h = x [· W_outᵀ]
//   logits = h · Eᵀ [+ b]                    E: the token table (tied), or a table of its own
//   loss   = Σ cross-entropy(logits, targets), in nats, summed over targets
//
// Each chunk goes forward and, when training, backward at once: its logits' gradient replaces them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/architecture.h"
#include "model/model_build.h"
#include "model/projection.h"
#include "model/residual_norm.h"
#include "ops/linear.h"

namespace sluice {

// Sums over targets, in memory of the device while a pass adds to them; the mean is taken where all
// ranks and micro-batches are known.
struct LossSums {
  double loss = 0;  // nats
  int64_t targets = 0;
  int64_t correct = 0;  // targets whose most probable token is the right one
};

class LanguageModelHead {
 public:
  // Adds its parameters. expected_target_share, of a batch's tokens, sizes the chunk.
  LanguageModelHead(const ModelBuild& build, const Architecture& architecture,
                    const ModelConfig& config, double expected_target_share);

  // token_table: parameter index of the embedding that a tied decoder uses.
  void Bind(const ParameterStore& parameters, int token_table);
  void WeightsChanged();

  // hidden (N, C). rows (M): those of hidden that are targets; targets (M): their ids, both as
  // DeviceBatch has them, or null. Adds to *sums, memory of the device. When dhidden is not null,
  // also runs backward: adds to the parameters' gradients and writes those rows of dhidden (N, C),
  // which the caller has zeroed.
  struct ForwardCall {
    const ForwardPass& pass;
    const TensorView& hidden;
    const TensorView& rows;
    const TensorView& targets;
    const TensorView& dhidden;
    double gradient_scale = 1;  // multiplies the gradients, not the loss
  };
  absl::Status Forward(ExecutionContext& context, const ForwardCall& call, LossSums* sums);

  // Logits (positions, V) in the accumulator's dtype for at most chunk_rows() positions:
  // prediction. Lives until the next call.
  absl::StatusOr<TensorView> Logits(ExecutionContext& context, const ForwardPass& pass,
                                    const TensorView& hidden,
                                    const std::vector<int32_t>& positions);
  int64_t chunk_rows() const { return chunk_rows_; }

  int64_t gradient_end() const { return gradient_end_; }

 private:
  struct Chunk {
    TensorView rows, targets;  // (M) int32
    int64_t M;                 // padded to a multiple of 64
  };
  // Rows and targets from `begin` on, as many as a chunk takes.
  Chunk ChunkOf(const ForwardCall& call, int64_t begin) const;
  // Rows of hidden → what the decoder reads, (M, E).
  absl::StatusOr<TensorView> Transform(ExecutionContext& context, const TensorView& hidden,
                                       const Chunk& chunk);
  // ddecoded (M, E) → the rows' gradient (M, C), in memory of the head.
  absl::StatusOr<TensorView> TransformBackward(ExecutionContext& context, const Chunk& chunk,
                                               const TensorView& ddecoded);
  absl::Status BackwardChunk(ExecutionContext& context, const Chunk& chunk,
                             const TensorView& decoded, const TensorView& dlogits,
                             const TensorView& dhidden);

  Architecture architecture_;
  int64_t hidden_size_, embedding_size_, vocab_size_;
  int64_t chunk_rows_;
  int64_t gradient_end_;
  int decoder_weight_ = -1, decoder_bias_ = -1;  // -1: tied; none
  std::unique_ptr<ResidualNorm> transform_norm_;
  Projection transform_, project_out_;
  ops::Linear decoder_;
  const TensorView* rows_;                      // (chunk) int32: of a prediction
  std::vector<int32_t> host_rows_;              // what is copied there
  const TensorView* gathered_;                  // (chunk, C)
  const TensorView* pre_activation_ = nullptr;  // (chunk, C): transform
  ResidualActivations normed_ = {};             // (chunk, C): transform
  const TensorView* projected_ = nullptr;       // (chunk, E): project_out
  const TensorView* logits_;                    // (chunk, V), accumulator dtype
  const TensorView* dlogits_ = nullptr;   // (chunk, V); null without training, the logits' own
                                          // memory when dtypes are equal
  const TensorView* ddecoded_ = nullptr;  // (chunk, E)
};

}  // namespace sluice
