#include "model/transformer_block.h"

#include "core/integer_math.h"
#include "core/status.h"
#include "ops/layer_norm.h"

namespace sluice {
namespace {

ResidualActivations PlanResidual(const ModelBuild& build, const std::string& name, int64_t C) {
  const int64_t N = build.max_tokens();
  return {.sum = build.Activation(name + ".sum", {N, C}),
          .mean = build.Statistic(name + ".mean", {N}),
          .rstd = build.Statistic(name + ".rstd", {N}),
          .y = build.Activation(name + ".y", {N, C})};
}

}  // namespace

// Members are initialized in the order in which backward finishes them, which is the order of the
// flat gradient.
TransformerBlock::TransformerBlock(const ModelBuild& build, const std::string& name, int layer,
                                   const TransformerBlockConfig& config)
    : config_(config),
      layer_(layer),
      gradient_begin_(build.parameters.flat_elements()),
      feed_forward_norm_(AddNorm(build, name + ".output.LayerNorm", config.attention.hidden_size)),
      feed_forward_(build, name, config.feed_forward),
      attention_norm_(
          AddNorm(build, name + ".attention.output.LayerNorm", config.attention.hidden_size)),
      attention_(build, name + ".attention", layer, config.attention) {
  gradient_end_ = build.parameters.flat_elements();
  if (build.train)
    ops::PlanLayerNorm(build.context, build.max_tokens(), config.attention.hidden_size);
}

TransformerBlock::Norm TransformerBlock::AddNorm(const ModelBuild& build, const std::string& name,
                                                 int64_t C) {
  Norm norm;
  norm.weight = build.parameters.Add(name + ".weight", {C}, {InitialValues::Kind::kOne});
  norm.bias = build.parameters.Add(name + ".bias", {C}, {});
  return norm;
}

BlockActivations TransformerBlock::PlanActivations(const ModelBuild& build, const std::string& name,
                                                   const TransformerBlockConfig& config) {
  const int64_t C = config.attention.hidden_size;
  return {
      .attention = AttentionBlock::PlanActivations(build, name + ".attention", config.attention),
      .attention_residual = PlanResidual(build, name + ".attention.output", C),
      .feed_forward = FeedForward::PlanActivations(build, name, config.feed_forward),
      .feed_forward_residual = PlanResidual(build, name + ".output", C)};
}

BlockScratch TransformerBlock::PlanScratch(const ModelBuild& build,
                                           const TransformerBlockConfig& config) {
  const int64_t N = build.max_tokens(), C = config.attention.hidden_size;
  return {.attention = AttentionBlock::PlanScratch(build, config.attention),
          .dactivated = build.Scratch("dactivated", {N, config.feed_forward.intermediate_size}),
          .dresidual = build.Scratch("dresidual", {N, C}),
          .dbranch = build.Scratch("dbranch", {N, C})};
}

void TransformerBlock::BindNorm(const ParameterStore& parameters, Norm& norm) {
  norm.weight_value = parameters.Working(norm.weight);
  norm.bias_value = parameters.Working(norm.bias);
  norm.weight_gradient = parameters.Gradient(norm.weight);
  norm.bias_gradient = parameters.Gradient(norm.bias);
}

void TransformerBlock::Bind(const ParameterStore& parameters) {
  BindNorm(parameters, feed_forward_norm_);
  BindNorm(parameters, attention_norm_);
  feed_forward_.Bind(parameters);
  attention_.Bind(parameters);
}

void TransformerBlock::WeightsChanged() {
  feed_forward_.WeightsChanged();
  attention_.WeightsChanged();
}

absl::Status TransformerBlock::NormForward(ExecutionContext& context, const Norm& norm,
                                           const TensorView& residual,
                                           const ResidualActivations& saved,
                                           const Dropout& dropout) {
  const Shape shape = residual.shape();
  const TensorView sum = saved.sum->Prefix(shape);
  return ops::Run(context, ops::LayerNormForward{.x = sum,
                                                 .residual = residual,
                                                 .weight = norm.weight_value,
                                                 .bias = norm.bias_value,
                                                 .sum = sum,
                                                 .y = saved.y->Prefix(shape),
                                                 .mean = saved.mean->Prefix({shape.rows()}),
                                                 .rstd = saved.rstd->Prefix({shape.rows()}),
                                                 .eps = config_.layer_norm_eps,
                                                 .dropout = dropout});
}

absl::StatusOr<TensorView> TransformerBlock::NormBackward(ExecutionContext& context,
                                                          const Norm& norm, const TensorView& dy,
                                                          const ResidualActivations& saved,
                                                          const Dropout& dropout,
                                                          const TensorView& dresidual,
                                                          const TensorView& dbranch) {
  const Shape shape = dy.shape();
  RETURN_IF_ERROR(
      ops::Run(context, ops::LayerNormBackward{.dy = dy,
                                               .dsum_in = {},
                                               .sum = saved.sum->Prefix(shape),
                                               .weight = norm.weight_value,
                                               .mean = saved.mean->Prefix({shape.rows()}),
                                               .rstd = saved.rstd->Prefix({shape.rows()}),
                                               .dsum = dresidual,
                                               .dx = dropout.enabled() ? dbranch : TensorView(),
                                               .dweight = norm.weight_gradient,
                                               .dbias = norm.bias_gradient,
                                               .dropout = dropout}));
  return dropout.enabled() ? dbranch : dresidual;
}

absl::Status TransformerBlock::Forward(ExecutionContext& context, const ForwardPass& pass,
                                       const TensorView& x, const BlockActivations& saved) {
  const Shape shape = x.shape();
  const double p = config_.hidden_dropout_prob;
  RETURN_IF_ERROR(attention_.Forward(context, pass, x, saved.attention,
                                     saved.attention_residual.sum->Prefix(shape)));
  RETURN_IF_ERROR(NormForward(context, attention_norm_, x, saved.attention_residual,
                              MakeDropout(pass, p, layer_, DropoutSite::kAttentionOutput)));
  const TensorView a = saved.attention_residual.y->Prefix(shape);
  RETURN_IF_ERROR(feed_forward_.Forward(context, a, saved.feed_forward,
                                        saved.feed_forward_residual.sum->Prefix(shape)));
  return NormForward(context, feed_forward_norm_, a, saved.feed_forward_residual,
                     MakeDropout(pass, p, layer_, DropoutSite::kFeedForward));
}

absl::Status TransformerBlock::Backward(ExecutionContext& context, const ForwardPass& pass,
                                        const TensorView& x, const BlockActivations& saved,
                                        const BlockScratch& scratch, const TensorView& stream) {
  const Shape shape = x.shape();
  const double p = config_.hidden_dropout_prob;
  const TensorView da = scratch.dresidual->Prefix(shape);
  const TensorView dbranch = scratch.dbranch->Prefix(shape);
  const TensorView a = saved.attention_residual.y->Prefix(shape);
  const TensorView dactivated =
      scratch.dactivated->Prefix({shape.rows(), config_.feed_forward.intermediate_size});

  // da = gradient of the sum before the second LayerNorm; the feed-forward's input gradient joins
  // it.
  ASSIGN_OR_RETURN(
      const TensorView dfeed_forward,
      NormBackward(context, feed_forward_norm_, stream, saved.feed_forward_residual,
                   MakeDropout(pass, p, layer_, DropoutSite::kFeedForward), da, dbranch));
  RETURN_IF_ERROR(
      feed_forward_.Backward(context, a, saved.feed_forward, dfeed_forward, dactivated, da));
  // stream = gradient of the sum before the first LayerNorm; attention's input gradient joins it.
  ASSIGN_OR_RETURN(
      const TensorView dattention,
      NormBackward(context, attention_norm_, da, saved.attention_residual,
                   MakeDropout(pass, p, layer_, DropoutSite::kAttentionOutput), stream, dbranch));
  return attention_.Backward(context, pass, x, saved.attention, scratch.attention, dattention,
                             stream);
}

}  // namespace sluice
