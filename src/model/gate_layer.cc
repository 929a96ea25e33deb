#include "model/gate_layer.h"

#include <cmath>

namespace sluice {

void GateLayer::Add(const ModelBuild& build, const std::string& name,
                    const GateLayerConfig& config) {
  const int64_t H = config.num_attention_heads, D = config.head_size, N = build.max_rows();
  variant_ = config.variant;
  const int64_t outputs = variant_.GateOutputs(H, D), inputs = variant_.GateInputs(H, D);
  weight_ = build.parameters.Add(name + ".weight", {outputs, inputs},
                                 config.initialization.Weight(inputs));
  if (variant_.gate_bias) {
    const double p = config.initial_probability;
    const InitialValues constant{InitialValues::Kind::kConstant, std::log(p / (1 - p))};
    bias_ = build.parameters.Add(name + ".bias", {outputs},
                                 p > 0 ? constant : config.initialization.Bias(inputs));
  }
  if (variant_.gate_per_channel()) {
    channel_gate_.Plan(build.context, build.arena, name, build.dtype,
                       {N, H, D, variant_.gate_per_head_slice}, build.train);
  } else if (build.train) {
    ops::PlanAttentionGate(build.context, N, H * D, H);
  }
}

void GateLayer::Bind(const ParameterStore& parameters) {
  const bool has_bias = bias_ >= 0;
  values_ = {.weight = parameters.Working(weight_),
             .bias = has_bias ? parameters.Working(bias_) : TensorView(),
             .weight_gradient = parameters.Gradient(weight_),
             .bias_gradient = has_bias ? parameters.Gradient(bias_) : TensorView()};
  if (variant_.gate_per_channel()) channel_gate_.Bind(values_);
}

void GateLayer::WeightsChanged() {
  if (variant_.gate_per_channel()) channel_gate_.WeightsChanged();
}

absl::Status GateLayer::Forward(ExecutionContext& context, const GateTensors& tensors) {
  if (variant_.gate_per_channel()) {
    return channel_gate_.Forward(context, tensors.source, tensors.gate);
  }
  return ops::Run(context,
                  ops::AttentionGateForward{.source = tensors.source,
                                            .weight = values_.weight,
                                            .bias = values_.bias,
                                            .gate = tensors.gate,
                                            .per_head_slice = variant_.gate_per_head_slice});
}

absl::Status GateLayer::Backward(ExecutionContext& context, const GateTensors& tensors) {
  if (variant_.gate_per_channel()) {
    return channel_gate_.Backward(context, {.source = tensors.source,
                                            .gate = tensors.gate,
                                            .dgate = tensors.dgate,
                                            .dsource = tensors.dsource});
  }
  return ops::Run(context,
                  ops::AttentionGateBackward{.source = tensors.source,
                                             .weight = values_.weight,
                                             .gate = tensors.gate,
                                             .dgate = tensors.dgate,
                                             .dsource = tensors.dsource,
                                             .dweight = values_.weight_gradient,
                                             .dbias = values_.bias_gradient,
                                             .per_head_slice = variant_.gate_per_head_slice});
}

}  // namespace sluice
