#include "model/gate_layer.h"

#include <cmath>

#include "core/status.h"
#include "ops/activation.h"
#include "ops/elementwise.h"

namespace sluice {

void GateLayer::Add(const ModelBuild& build, const std::string& name,
                    const GateLayerConfig& config) {
  const int64_t H = config.num_attention_heads, D = config.head_size, N = build.max_rows();
  variant_ = config.variant;
  AddLogit(build, name, config);
  int64_t features = variant_.gate_is_free() ? 0 : H * D;  // that the logits' op reads
  if (variant_.gate_is_perceptron()) {
    AddHidden(build, name, config);
    features = H * variant_.gate_hidden_size;
  }
  if (variant_.gate_per_channel()) {
    channel_gate_.Plan(build.context, build.arena, name, build.dtype,
                       {N, H, D, variant_.gate_per_head_slice, variant_.gate_curve}, build.train);
  } else if (build.train) {
    ops::PlanAttentionGate(build.context, N, features, H);
  }
}

void GateLayer::AddLogit(const ModelBuild& build, const std::string& name,
                         const GateLayerConfig& config) {
  const int64_t H = config.num_attention_heads, D = config.head_size;
  const int64_t outputs = variant_.GateOutputs(H, D), inputs = variant_.GateInputs(H, D);
  const double p = config.initial_probability;
  const InitialValues start{InitialValues::Kind::kConstant,
                            p > 0 ? std::log(p / (1 - p)) / variant_.gate_curve.steepness : 0};
  if (variant_.gate_is_free()) {
    bias_ = build.parameters.Add(name + ".logit", {outputs}, start);
    return;
  }
  const WeightInitialization initialization =
      config.initializer_range > 0
          ? WeightInitialization{.torch_linear = false, .range = config.initializer_range}
          : config.initialization;
  weight_ =
      build.parameters.Add(name + ".weight", {outputs, inputs}, initialization.Weight(inputs));
  if (!variant_.gate_bias) return;
  bias_ =
      build.parameters.Add(name + ".bias", {outputs}, p > 0 ? start : initialization.Bias(inputs));
}

void GateLayer::AddHidden(const ModelBuild& build, const std::string& name,
                          const GateLayerConfig& config) {
  const int64_t H = config.num_attention_heads, D = config.head_size;
  const int64_t K = variant_.gate_hidden_size;
  hidden_weight_ =
      build.parameters.Add(name + ".hidden.weight", {H * K, D}, config.initialization.Weight(D));
  hidden_bias_ =
      build.parameters.Add(name + ".hidden.bias", {H * K}, config.initialization.Bias(D));
  hidden_.Plan(build.context, build.arena, name + ".hidden", build.dtype,
               {build.max_rows(), H, D, K}, build.train);
}

void GateLayer::Bind(const ParameterStore& parameters) {
  const auto bind = [&](int weight, int bias) {
    return ops::Linear::Parameters{
        .weight = weight < 0 ? TensorView() : parameters.Working(weight),
        .bias = bias < 0 ? TensorView() : parameters.Working(bias),
        .weight_gradient = weight < 0 ? TensorView() : parameters.Gradient(weight),
        .bias_gradient = bias < 0 ? TensorView() : parameters.Gradient(bias)};
  };
  values_ = bind(weight_, bias_);
  if (variant_.gate_per_channel()) channel_gate_.Bind(values_);
  if (variant_.gate_is_perceptron()) hidden_.Bind(bind(hidden_weight_, hidden_bias_));
}

void GateLayer::WeightsChanged() {
  if (variant_.gate_per_channel()) channel_gate_.WeightsChanged();
  if (variant_.gate_is_perceptron()) hidden_.WeightsChanged();
}

absl::Status GateLayer::Forward(ExecutionContext& context, const GateTensors& tensors) {
  if (variant_.gate_per_channel()) {
    return channel_gate_.Forward(context, tensors.source, tensors.gate);
  }
  if (variant_.gate_is_free()) {
    return ops::Run(context,
                    ops::FreeGateForward{
                        .logit = values_.bias, .gate = tensors.gate, .curve = variant_.gate_curve});
  }
  TensorView source = tensors.source;
  if (variant_.gate_is_perceptron()) {
    source = tensors.hidden;
    RETURN_IF_ERROR(hidden_.Forward(context, tensors.source, source));
    RETURN_IF_ERROR(ops::ActivationForward(context, Activation::kRelu, source, source));
  }
  return ops::Run(context, ops::AttentionGateForward{.source = source,
                                                     .weight = values_.weight,
                                                     .bias = values_.bias,
                                                     .gate = tensors.gate,
                                                     .per_head_slice = ReadsSlices(),
                                                     .curve = variant_.gate_curve});
}

absl::Status GateLayer::LogitBackward(ExecutionContext& context, const TensorView& source,
                                      const TensorView& dsource, const GateTensors& tensors) {
  return ops::Run(context, ops::AttentionGateBackward{.source = source,
                                                      .weight = values_.weight,
                                                      .gate = tensors.gate,
                                                      .dgate = tensors.dgate,
                                                      .dsource = dsource,
                                                      .dweight = values_.weight_gradient,
                                                      .dbias = values_.bias_gradient,
                                                      .per_head_slice = ReadsSlices(),
                                                      .curve = variant_.gate_curve});
}

absl::Status GateLayer::Backward(ExecutionContext& context, const GateTensors& tensors) {
  if (variant_.gate_per_channel()) {
    return channel_gate_.Backward(context, {.source = tensors.source,
                                            .gate = tensors.gate,
                                            .dgate = tensors.dgate,
                                            .dsource = tensors.dsource});
  }
  if (variant_.gate_is_free()) {
    return ops::Run(context, ops::FreeGateBackward{.logit = values_.bias,
                                                   .gate = tensors.gate,
                                                   .dgate = tensors.dgate,
                                                   .dlogit = values_.bias_gradient,
                                                   .curve = variant_.gate_curve});
  }
  if (!variant_.gate_is_perceptron()) {
    return LogitBackward(context, tensors.source, tensors.dsource, tensors);
  }
  const TensorView& hidden = tensors.hidden;
  const TensorView& dhidden = tensors.dhidden;
  RETURN_IF_ERROR(ops::Zero(context, dhidden));
  RETURN_IF_ERROR(LogitBackward(context, hidden, dhidden, tensors));
  // Of relu the sign behind it is that before it.
  RETURN_IF_ERROR(ops::ActivationBackward(context, Activation::kRelu, hidden, dhidden, dhidden));
  return hidden_.Backward(context, tensors.source, dhidden, tensors.dsource);
}

}  // namespace sluice
