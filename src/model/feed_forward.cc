#include "model/feed_forward.h"

#include "core/status.h"
#include "ops/activation.h"

namespace sluice {

FeedForward::FeedForward(const ModelBuild& build, const std::string& name,
                         const FeedForwardConfig& config)
    : config_(config) {
  const int64_t C = config.hidden_size, I = config.intermediate_size, N = build.max_tokens();
  down_weight_ = build.parameters.Add(name + ".output.dense.weight", {C, I}, config.weight);
  down_bias_ = build.parameters.Add(name + ".output.dense.bias", {C}, {});
  up_weight_ = build.parameters.Add(name + ".intermediate.dense.weight", {I, C}, config.weight);
  up_bias_ = build.parameters.Add(name + ".intermediate.dense.bias", {I}, {});
  up_.Plan(build.context, build.arena, name + ".intermediate", build.dtype, {N, C, I}, build.train);
  down_.Plan(build.context, build.arena, name + ".output", build.dtype, {N, I, C}, build.train);
}

FeedForwardActivations FeedForward::PlanActivations(const ModelBuild& build,
                                                    const std::string& name,
                                                    const FeedForwardConfig& config) {
  const Shape shape{build.max_tokens(), config.intermediate_size};
  return {.pre_activation = build.Activation(name + ".intermediate.pre_activation", shape),
          .activated = build.Activation(name + ".intermediate.activated", shape)};
}

void FeedForward::Bind(const ParameterStore& parameters) {
  up_.Bind({.weight = parameters.Working(up_weight_),
            .bias = parameters.Working(up_bias_),
            .weight_gradient = parameters.Gradient(up_weight_),
            .bias_gradient = parameters.Gradient(up_bias_)});
  down_.Bind({.weight = parameters.Working(down_weight_),
              .bias = parameters.Working(down_bias_),
              .weight_gradient = parameters.Gradient(down_weight_),
              .bias_gradient = parameters.Gradient(down_bias_)});
}

void FeedForward::WeightsChanged() {
  up_.WeightsChanged();
  down_.WeightsChanged();
}

absl::Status FeedForward::Forward(ExecutionContext& context, const TensorView& x,
                                  const FeedForwardActivations& saved, const TensorView& y) {
  const Shape shape{x.rows(), config_.intermediate_size};
  const TensorView pre_activation = saved.pre_activation->Prefix(shape);
  const TensorView activated = saved.activated->Prefix(shape);
  RETURN_IF_ERROR(up_.Forward(context, x, pre_activation));
  RETURN_IF_ERROR(ops::ActivationForward(context, config_.activation, pre_activation, activated));
  return down_.Forward(context, activated, y);
}

absl::Status FeedForward::Backward(ExecutionContext& context, const TensorView& x,
                                   const FeedForwardActivations& saved, const TensorView& dy,
                                   const TensorView& dactivated, const TensorView& dx) {
  const Shape shape{x.rows(), config_.intermediate_size};
  const TensorView pre_activation = saved.pre_activation->Prefix(shape);
  RETURN_IF_ERROR(down_.BackwardWeight(context, saved.activated->Prefix(shape), dy));
  RETURN_IF_ERROR(down_.BackwardInput(context, dy, dactivated, /*accumulate=*/false));
  RETURN_IF_ERROR(
      ops::ActivationBackward(context, config_.activation, pre_activation, dactivated, dactivated));
  RETURN_IF_ERROR(up_.BackwardWeight(context, x, dactivated));
  return up_.BackwardInput(context, dactivated, dx, /*accumulate=*/true);
}

}  // namespace sluice
