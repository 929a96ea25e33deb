// What a model starts with: tokens become rows of the residual stream.
//
//   sum = register tokens, and behind them [project_in](token) + position [+ segment]     (N, C)
//   y   = dropout(LayerNorm(sum))                                                         (N, C)
//
// N = B·(R + T): each sequence has R register rows (a learned embedding each, no position and no
// segment) before its T tokens. The LayerNorm is BERT's own and, in pre-LN models, the one that the
// first layer begins with; only BERT drops out.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/architecture.h"
#include "model/model_build.h"
#include "model/projection.h"
#include "model/residual_norm.h"
#include "model/transformer_block.h"
#include "ops/embedding.h"

namespace sluice {

class InputEmbedding {
 public:
  // Adds its parameters. The token table is the last of them: a tied decoder adds to its gradient
  // too.
  InputEmbedding(const ModelBuild& build, const Architecture& architecture,
                 const ModelConfig& config);

  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  // tokens, segments (B, T) int32, segments may be null. What it returns lives until the next
  // Forward.
  absl::StatusOr<Stream> Forward(ExecutionContext& context, const ForwardPass& pass,
                                 const TensorView& tokens, const TensorView& segments);
  // dy (N, C) is overwritten on the way; dresidual (N, C): gradient of the sum from elsewhere, or
  // null.
  absl::Status Backward(ExecutionContext& context, const ForwardPass& pass,
                        const TensorView& tokens, const TensorView& segments, const Stream& dy);

  int token_table() const { return token_table_; }  // parameter index
  int64_t gradient_begin() const { return gradient_begin_; }

 private:
  bool projects() const { return embedding_size_ != hidden_size_; }
  // For an observer: tokens, and tokens with segments, are summed by kernels of their own.
  static bool TakenApart(const ForwardPass& pass);
  // What is summed; a projection of the tokens is made here.
  absl::StatusOr<ops::EmbeddingForward> Parts(ExecutionContext& context, const ForwardPass& pass,
                                              const TensorView& tokens, const TensorView& segments);
  absl::StatusOr<TensorView> ShownTokens(ExecutionContext& context, const ForwardPass& pass,
                                         const TensorView& tokens, const TensorView& segments);
  Dropout OutputDropout(const ForwardPass& pass) const;

  int64_t hidden_size_, embedding_size_, position_offset_;
  NormPlacement norm_placement_;
  double dropout_prob_;  // of y
  int64_t gradient_begin_;
  ResidualNorm norm_;
  ResidualActivations saved_;
  Projection project_in_;
  int register_table_ = -1, segment_table_ = -1;  // -1: none
  int position_table_, token_table_;
  const TensorView* embedded_ = nullptr;     // (B·T, E): tokens before project_in; its gradient
  const TensorView* projected_ = nullptr;    // (B·T, C): behind it; its gradient
  const TensorView* no_position_ = nullptr;  // (1, C), where there are segments
  const ParameterStore* parameters_ = nullptr;
};

}  // namespace sluice
