#include "model/feed_forward.h"

#include "core/status.h"
#include "ops/linear_activation.h"

namespace sluice {

FeedForward::FeedForward(const ModelBuild& build, const LayerNames& names, int layer,
                         const FeedForwardConfig& config)
    : config_(config), layer_(layer) {
  const int64_t C = config.hidden_size, I = config.intermediate_size, N = build.max_rows();
  down_.Add(build, names.down, N, {I, C, config.initialization, config.biases});
  up_.Add(build, names.up, N, {C, I, config.initialization, config.biases});
}

FeedForwardActivations FeedForward::PlanActivations(const ModelBuild& build,
                                                    const std::string& name,
                                                    const FeedForwardConfig& config) {
  const Shape shape{build.max_rows(), config.intermediate_size};
  const TensorView* activated = build.Activation(name + ".activated", shape);
  return {.pre_activation = config.activation == Activation::kRelu
                                ? activated
                                : build.Activation(name + ".pre_activation", shape),
          .activated = activated};
}

void FeedForward::Bind(const ParameterStore& parameters) {
  up_.Bind(parameters);
  down_.Bind(parameters);
}

void FeedForward::WeightsChanged() {
  up_.WeightsChanged();
  down_.WeightsChanged();
}

absl::Status FeedForward::Forward(ExecutionContext& context, const ForwardPass& pass,
                                  const TensorView& x, const FeedForwardActivations& saved,
                                  const TensorView& y) {
  const Shape shape{x.rows(), config_.intermediate_size};
  const TensorView pre_activation = saved.pre_activation->Prefix(shape);
  const TensorView activated = saved.activated->Prefix(shape);
  RETURN_IF_ERROR(ops::Run(context, ops::LinearActivationForward{.layer = up_,
                                                                 .activation = config_.activation,
                                                                 .x = x,
                                                                 .pre_activation = pre_activation,
                                                                 .y = activated}));
  RETURN_IF_ERROR(Show(context, pass.observer, layer_, observed::kActivated, activated));
  RETURN_IF_ERROR(down_.Forward(context, activated, y));
  return Show(context, pass.observer, layer_, observed::kFeedForwardOutput, y);
}

absl::Status FeedForward::Backward(ExecutionContext& context, const FeedForwardActivations& saved,
                                   const BackwardCall& call) {
  const Shape shape{call.x.rows(), config_.intermediate_size};
  const TensorView dactivated = call.dactivated.Prefix(shape);
  RETURN_IF_ERROR(down_.BackwardWeight(context, saved.activated->Prefix(shape), call.dy));
  RETURN_IF_ERROR(ops::Run(
      context, ops::LinearActivationBackward{.layer = up_,
                                             .next = down_,
                                             .activation = config_.activation,
                                             .x = call.x,
                                             .pre_activation = saved.pre_activation->Prefix(shape),
                                             .dy = call.dy,
                                             .dpre_activation = dactivated}));
  return up_.BackwardInput(context, dactivated, call.dx, call.accumulate);
}

}  // namespace sluice
