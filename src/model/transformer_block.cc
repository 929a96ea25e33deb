#include "model/transformer_block.h"

#include "core/status.h"

namespace sluice {

// Members are initialized in the order in which backward finishes them, which is the order of the
// flat gradient.
TransformerBlock::TransformerBlock(const ModelBuild& build, const LayerNames& names, int layer,
                                   const TransformerBlockConfig& config)
    : config_(config),
      layer_(layer),
      gradient_begin_(build.parameters.flat_elements()),
      feed_forward_norm_(build, names.feed_forward_norm, config.attention.hidden_size,
                         config.layer_norm_eps),
      feed_forward_(build, names, layer, config.feed_forward),
      attention_norm_(build, names.attention_norm, config.attention.hidden_size,
                      config.layer_norm_eps),
      attention_(build, names, layer, config.attention) {
  gradient_end_ = build.parameters.flat_elements();
}

BlockActivations TransformerBlock::PlanActivations(const ModelBuild& build, const std::string& name,
                                                   const TransformerBlockConfig& config) {
  const int64_t C = config.attention.hidden_size;
  return {
      .attention = AttentionBlock::PlanActivations(build, name + ".attention", config.attention),
      .attention_residual = ResidualNorm::PlanActivations(build, name + ".attention.output", C),
      .feed_forward =
          FeedForward::PlanActivations(build, name + ".feed_forward", config.feed_forward),
      .feed_forward_residual = ResidualNorm::PlanActivations(build, name + ".output", C)};
}

BlockScratch TransformerBlock::PlanScratch(const ModelBuild& build,
                                           const TransformerBlockConfig& config) {
  const int64_t N = build.max_rows(), C = config.attention.hidden_size;
  return {.attention = AttentionBlock::PlanScratch(build, config.attention),
          .dactivated = build.Scratch("dactivated", {N, config.feed_forward.intermediate_size}),
          .dresidual = config.norm_placement == NormPlacement::kPostNorm
                           ? build.Scratch("dresidual", {N, C})
                           : nullptr,
          .dbranch = build.Scratch("dbranch", {N, C})};
}

void TransformerBlock::Bind(const ParameterStore& parameters) {
  feed_forward_norm_.Bind(parameters);
  attention_norm_.Bind(parameters);
  feed_forward_.Bind(parameters);
  attention_.Bind(parameters);
}

void TransformerBlock::WeightsChanged() {
  feed_forward_.WeightsChanged();
  attention_.WeightsChanged();
}

absl::StatusOr<Stream> TransformerBlock::Forward(ExecutionContext& context, const ForwardPass& pass,
                                                 const Stream& in, const BlockActivations& saved) {
  const Shape shape = in.normed.shape();
  const bool post_norm = config_.norm_placement == NormPlacement::kPostNorm;
  auto out = [&](const ResidualActivations& residual) {
    const TensorView normed = residual.y->Prefix(shape);
    return Stream{normed, post_norm ? normed : residual.sum->Prefix(shape)};
  };
  RETURN_IF_ERROR(attention_.Forward(context, pass, in.normed, saved.attention,
                                     saved.attention_residual.sum->Prefix(shape)));
  RETURN_IF_ERROR(attention_norm_.Forward(
      context,
      {.rows = shape.rows(),
       .residual = in.residual,
       .dropout = DropoutAt(pass, DropoutSite::kAttentionOutput),
       .look = {pass.observer, layer_, observed::kAttentionSum, observed::kAttentionNorm}},
      saved.attention_residual));
  const Stream a = out(saved.attention_residual);
  RETURN_IF_ERROR(feed_forward_.Forward(context, pass, a.normed, saved.feed_forward,
                                        saved.feed_forward_residual.sum->Prefix(shape)));
  RETURN_IF_ERROR(feed_forward_norm_.Forward(
      context,
      {.rows = shape.rows(),
       .residual = a.residual,
       .dropout = DropoutAt(pass, DropoutSite::kFeedForward),
       .look = {pass.observer, layer_, observed::kFeedForwardSum, observed::kFeedForwardNorm}},
      saved.feed_forward_residual));
  return out(saved.feed_forward_residual);
}

// post-LN: the gradient of a sum is the gradient of the normed residual, and what the branch's
// input gets joins it, so `dnormed` and dresidual take turns. pre-LN: one gradient goes along the
// residual past both branches, and what a branch's input gets comes in beside it at the LayerNorm.
absl::Status TransformerBlock::Backward(ExecutionContext& context, const ForwardPass& pass,
                                        const BlockActivations& saved, const BlockScratch& scratch,
                                        const BackwardCall& call) {
  const Shape shape = call.x.shape();
  const bool post_norm = config_.norm_placement == NormPlacement::kPostNorm;
  const TensorView dx = call.dnormed, dbranch = scratch.dbranch->Prefix(shape);
  const TensorView da = post_norm ? scratch.dresidual->Prefix(shape) : dx;
  const TensorView dsum = post_norm ? da : call.dresidual;    // of the second sum
  const TensorView dsum_a = post_norm ? dx : call.dresidual;  // of the first sum
  const TensorView dresidual = post_norm ? TensorView() : call.dresidual;
  ASSIGN_OR_RETURN(
      const TensorView dfeed_forward,
      feed_forward_norm_.Backward(context, saved.feed_forward_residual,
                                  {.dy = call.dnormed,
                                   .dsum_in = call.last ? TensorView() : dresidual,
                                   .dresidual = dsum,
                                   .dbranch = dbranch,
                                   .dropout = DropoutAt(pass, DropoutSite::kFeedForward)}));
  RETURN_IF_ERROR(feed_forward_.Backward(context, saved.feed_forward,
                                         {.x = saved.attention_residual.y->Prefix(shape),
                                          .dy = dfeed_forward,
                                          .dactivated = *scratch.dactivated,
                                          .dx = da,
                                          .accumulate = post_norm}));
  ASSIGN_OR_RETURN(
      const TensorView dattention,
      attention_norm_.Backward(context, saved.attention_residual,
                               {.dy = da,
                                .dsum_in = dresidual,
                                .dresidual = dsum_a,
                                .dbranch = dbranch,
                                .dropout = DropoutAt(pass, DropoutSite::kAttentionOutput)}));
  return attention_.Backward(context, pass, saved.attention, scratch.attention,
                             {.x = call.x, .dy = dattention, .dx = dx, .accumulate = post_norm});
}

}  // namespace sluice
