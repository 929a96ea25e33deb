// BERT's input: y = dropout(LayerNorm(token + position + segment embedding)), (N, C).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/model_build.h"

namespace sluice {

struct InputEmbeddingConfig {
  int64_t vocab_size, hidden_size, max_position_embeddings, type_vocab_size;
  double hidden_dropout_prob;
  float layer_norm_eps;
  InitialValues table;        // position and segment tables
  InitialValues token_table;  // the same with a zero row for [PAD]
};

class InputEmbedding {
 public:
  // Adds its parameters; `name` is e.g. "bert.embeddings". The token table is the last of them: a
  // tied decoder adds to its gradient too.
  InputEmbedding(const ModelBuild& build, const std::string& name,
                 const InputEmbeddingConfig& config);

  void Bind(const ParameterStore& parameters);

  // tokens, segments (B, T) int32, segments may be null. Returns y (N, C), which lives until the
  // next Forward.
  absl::StatusOr<TensorView> Forward(ExecutionContext& context, const ForwardPass& pass,
                                     const TensorView& tokens, const TensorView& segments);
  // dy (N, C) is overwritten on the way.
  absl::Status Backward(ExecutionContext& context, const ForwardPass& pass,
                        const TensorView& tokens, const TensorView& segments, const TensorView& dy);

  int token_table() const { return token_table_; }  // parameter index
  int64_t gradient_begin() const { return gradient_begin_; }
  int64_t gradient_end() const { return gradient_end_; }

 private:
  InputEmbeddingConfig config_;
  int64_t gradient_begin_, gradient_end_;
  int norm_weight_, norm_bias_, position_table_, segment_table_, token_table_;
  const TensorView* sum_;   // (N, C), saved
  const TensorView* mean_;  // (N), saved
  const TensorView* rstd_;  // (N), saved
  const TensorView* y_;     // (N, C)
  const ParameterStore* parameters_ = nullptr;
};

}  // namespace sluice
