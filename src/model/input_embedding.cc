#include "model/input_embedding.h"

#include "core/status.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/layer_norm.h"

namespace sluice {

InputEmbedding::InputEmbedding(const ModelBuild& build, const std::string& name,
                               const InputEmbeddingConfig& config)
    : config_(config), gradient_begin_(build.parameters.flat_elements()) {
  const int64_t C = config.hidden_size, N = build.max_tokens();
  ParameterStore& parameters = build.parameters;
  norm_weight_ = parameters.Add(name + ".LayerNorm.weight", {C}, {InitialValues::Kind::kOne});
  norm_bias_ = parameters.Add(name + ".LayerNorm.bias", {C}, {});
  segment_table_ = parameters.Add(name + ".token_type_embeddings.weight",
                                  {config.type_vocab_size, C}, config.table);
  position_table_ = parameters.Add(name + ".position_embeddings.weight",
                                   {config.max_position_embeddings, C}, config.table);
  token_table_ =
      parameters.Add(name + ".word_embeddings.weight", {config.vocab_size, C}, config.token_table);
  gradient_end_ = parameters.flat_elements();
  sum_ = build.Activation(name + ".sum", {N, C});
  mean_ = build.Statistic(name + ".mean", {N});
  rstd_ = build.Statistic(name + ".rstd", {N});
  y_ = build.Activation(name + ".y", {N, C});
  if (build.train) ops::PlanEmbedding(build.context, N, config.vocab_size);
}

void InputEmbedding::Bind(const ParameterStore& parameters) { parameters_ = &parameters; }

absl::StatusOr<TensorView> InputEmbedding::Forward(ExecutionContext& context,
                                                   const ForwardPass& pass,
                                                   const TensorView& tokens,
                                                   const TensorView& segments) {
  const Shape shape{pass.tokens(), config_.hidden_size};
  const TensorView sum = sum_->Prefix(shape), y = y_->Prefix(shape);
  RETURN_IF_ERROR(ops::Run(
      context, ops::EmbeddingForward{.tokens = tokens,
                                     .segments = segments,
                                     .token_table = parameters_->Working(token_table_),
                                     .position_table = parameters_->Working(position_table_),
                                     .segment_table = parameters_->Working(segment_table_),
                                     .y = sum}));
  RETURN_IF_ERROR(
      ops::Run(context, ops::LayerNormForward{.x = sum,
                                              .residual = {},
                                              .weight = parameters_->Working(norm_weight_),
                                              .bias = parameters_->Working(norm_bias_),
                                              .sum = {},
                                              .y = y,
                                              .mean = mean_->Prefix({pass.tokens()}),
                                              .rstd = rstd_->Prefix({pass.tokens()}),
                                              .eps = config_.layer_norm_eps}));
  const Dropout dropout =
      MakeDropout(pass, config_.hidden_dropout_prob, -1, DropoutSite::kEmbedding);
  if (dropout.enabled()) RETURN_IF_ERROR(ops::DropoutForward(context, dropout, y, y));
  return y;
}

absl::Status InputEmbedding::Backward(ExecutionContext& context, const ForwardPass& pass,
                                      const TensorView& tokens, const TensorView& segments,
                                      const TensorView& dy) {
  const Shape shape{pass.tokens(), config_.hidden_size};
  const Dropout dropout =
      MakeDropout(pass, config_.hidden_dropout_prob, -1, DropoutSite::kEmbedding);
  if (dropout.enabled()) RETURN_IF_ERROR(ops::DropoutForward(context, dropout, dy, dy));
  RETURN_IF_ERROR(
      ops::Run(context, ops::LayerNormBackward{.dy = dy,
                                               .dsum_in = {},
                                               .sum = sum_->Prefix(shape),
                                               .weight = parameters_->Working(norm_weight_),
                                               .mean = mean_->Prefix({pass.tokens()}),
                                               .rstd = rstd_->Prefix({pass.tokens()}),
                                               .dsum = dy,
                                               .dx = {},
                                               .dweight = parameters_->Gradient(norm_weight_),
                                               .dbias = parameters_->Gradient(norm_bias_)}));
  return ops::Run(context,
                  ops::EmbeddingBackward{.tokens = tokens,
                                         .segments = segments,
                                         .dy = dy,
                                         .dtoken_table = parameters_->Gradient(token_table_),
                                         .dposition_table = parameters_->Gradient(position_table_),
                                         .dsegment_table = parameters_->Gradient(segment_table_)});
}

}  // namespace sluice
