#include "model/residual_norm.h"

#include "core/status.h"
#include "ops/dropout.h"
#include "ops/embedding_layer_norm.h"
#include "ops/layer_norm.h"

namespace sluice {

ResidualNorm::ResidualNorm(const ModelBuild& build, const std::string& name, int64_t hidden_size,
                           float eps)
    : eps_(eps),
      weight_(build.parameters.Add(name + ".weight", {hidden_size}, {InitialValues::Kind::kOne})),
      bias_(build.parameters.Add(name + ".bias", {hidden_size}, {})) {
  if (build.train) ops::PlanLayerNorm(build.context, build.max_rows(), hidden_size);
}

ResidualActivations ResidualNorm::PlanActivations(const ModelBuild& build, const std::string& name,
                                                  int64_t hidden_size) {
  const int64_t N = build.max_rows();
  return {.sum = build.Activation(name + ".sum", {N, hidden_size}),
          .mean = build.Statistic(name + ".mean", {N}),
          .rstd = build.Statistic(name + ".rstd", {N}),
          .y = build.Activation(name + ".y", {N, hidden_size})};
}

void ResidualNorm::Bind(const ParameterStore& parameters) {
  weight_value_ = parameters.Working(weight_);
  bias_value_ = parameters.Working(bias_);
  weight_gradient_ = parameters.Gradient(weight_);
  bias_gradient_ = parameters.Gradient(bias_);
}

absl::Status ResidualNorm::Forward(ExecutionContext& context, const ForwardCall& call,
                                   const ResidualActivations& saved) const {
  const Shape shape{call.rows, saved.sum->dim(-1)};
  const Look& look = call.look;
  RETURN_IF_ERROR(Normalize(context, call, saved));
  RETURN_IF_ERROR(Show(context, look.observer, look.layer, look.sum, saved.sum->Prefix(shape)));
  // One kernel makes the sum and its norm, so a sum that was changed is normalized again.
  if (ChangesSum(look)) RETURN_IF_ERROR(Normalize(context, {.rows = call.rows}, saved));
  return Show(context, look.observer, look.layer, look.norm, saved.y->Prefix(shape));
}

absl::Status ResidualNorm::ForwardEmbedding(ExecutionContext& context, const EmbeddingCall& call,
                                            const ResidualActivations& saved) const {
  const Shape shape{call.rows, saved.sum->dim(-1)};
  const TensorView sum = saved.sum->Prefix(shape), y = saved.y->Prefix(shape);
  const Look& look = call.look;
  const bool apart = call.projected_in_y || ChangesSum(look);
  ops::EmbeddingForward embedding = call.embedding;
  embedding.y = sum;
  if (apart) {
    RETURN_IF_ERROR(ops::Run(context, embedding));
  } else {
    RETURN_IF_ERROR(
        ops::Run(context, ops::EmbeddingLayerNorm{.embedding = embedding,
                                                  .weight = weight_value_,
                                                  .bias = bias_value_,
                                                  .y = y,
                                                  .mean = saved.mean->Prefix({call.rows}),
                                                  .rstd = saved.rstd->Prefix({call.rows}),
                                                  .eps = eps_,
                                                  .dropout = call.dropout}));
  }
  RETURN_IF_ERROR(Show(context, look.observer, look.layer, look.sum, sum));
  if (apart) {
    RETURN_IF_ERROR(Normalize(context, {.rows = call.rows}, saved));
    if (call.dropout.enabled()) RETURN_IF_ERROR(ops::DropoutForward(context, call.dropout, y, y));
  }
  return Show(context, look.observer, look.layer, look.norm, y);
}

bool ResidualNorm::ChangesSum(const Look& look) {
  return look.observer != nullptr && look.observer->changes_values() &&
         look.observer->Wants(look.sum);
}

absl::Status ResidualNorm::Normalize(ExecutionContext& context, const ForwardCall& call,
                                     const ResidualActivations& saved) const {
  const Shape shape{call.rows, saved.sum->dim(-1)};
  const TensorView sum = saved.sum->Prefix(shape);
  return ops::Run(context, ops::LayerNormForward{.x = sum,
                                                 .residual = call.residual,
                                                 .weight = weight_value_,
                                                 .bias = bias_value_,
                                                 .sum = call.residual.null() ? TensorView() : sum,
                                                 .y = saved.y->Prefix(shape),
                                                 .mean = saved.mean->Prefix({call.rows}),
                                                 .rstd = saved.rstd->Prefix({call.rows}),
                                                 .eps = eps_,
                                                 .dropout = call.dropout});
}

absl::StatusOr<TensorView> ResidualNorm::Backward(ExecutionContext& context,
                                                  const ResidualActivations& saved,
                                                  const BackwardCall& call) const {
  const Shape shape = call.dy.shape();
  const bool drops = call.dropout.enabled();
  RETURN_IF_ERROR(
      ops::Run(context, ops::LayerNormBackward{.dy = call.dy,
                                               .dsum_in = call.dsum_in,
                                               .sum = saved.sum->Prefix(shape),
                                               .weight = weight_value_,
                                               .mean = saved.mean->Prefix({shape.rows()}),
                                               .rstd = saved.rstd->Prefix({shape.rows()}),
                                               .dsum = call.dresidual,
                                               .dx = drops ? call.dbranch : TensorView(),
                                               .dweight = weight_gradient_,
                                               .dbias = bias_gradient_,
                                               .dropout = call.dropout}));
  return drops ? call.dbranch : call.dresidual;
}

}  // namespace sluice
