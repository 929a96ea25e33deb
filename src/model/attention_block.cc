#include "model/attention_block.h"

#include "core/status.h"
#include "ops/attention.h"
#include "ops/attention_gate.h"

namespace sluice {

AttentionBlock::AttentionBlock(const ModelBuild& build, const std::string& name, int layer,
                               const AttentionBlockConfig& config)
    : config_(config), layer_(layer) {
  const int64_t C = config.hidden_size, H = config.num_attention_heads;
  ParameterStore& parameters = build.parameters;
  output_weight_ = parameters.Add(name + ".output.dense.weight", {C, C}, config.output_weight);
  output_bias_ = parameters.Add(name + ".output.dense.bias", {C}, {});
  if (config.variant.gated()) {
    gate_weight_ = parameters.Add(name + ".self.gate.weight", {H, C}, config.gate_weight);
    if (config.variant.gate_bias) {
      gate_bias_ = parameters.Add(name + ".self.gate.bias", {H}, config.gate_bias);
    }
  }
  qkv_weight_ = parameters.Add(name + ".self.query.weight", {C, C}, config.qkv_weight);
  parameters.Add(name + ".self.key.weight", {C, C}, config.qkv_weight, /*joined=*/true);
  parameters.Add(name + ".self.value.weight", {C, C}, config.qkv_weight, /*joined=*/true);
  qkv_bias_ = parameters.Add(name + ".self.query.bias", {C}, config.qkv_bias);
  parameters.Add(name + ".self.key.bias", {C}, config.qkv_bias, /*joined=*/true);
  parameters.Add(name + ".self.value.bias", {C}, config.qkv_bias, /*joined=*/true);

  const int64_t N = build.max_tokens();
  qkv_.Plan(build.context, build.arena, name + ".qkv", build.dtype, {N, C, 3 * C}, build.train);
  output_.Plan(build.context, build.arena, name + ".output", build.dtype, {N, C, C}, build.train);
  ops::PlanAttention(build.context, {build.max_batch, build.length, H, C / H}, build.train);
  if (config.variant.gated() && build.train) ops::PlanAttentionGate(build.context, N, C, H);
}

AttentionActivations AttentionBlock::PlanActivations(const ModelBuild& build,
                                                     const std::string& name,
                                                     const AttentionBlockConfig& config) {
  const int64_t N = build.max_tokens(), C = config.hidden_size, H = config.num_attention_heads;
  return {.qkv = build.Activation(name + ".qkv", {N, 3 * C}),
          .gate = config.variant.gated() ? build.Statistic(name + ".gate", {N, H}) : nullptr,
          .log_sum_exp = build.Statistic(name + ".log_sum_exp", {build.max_batch, H, build.length}),
          .attended = build.Activation(name + ".attended", {N, C})};
}

AttentionScratch AttentionBlock::PlanScratch(const ModelBuild& build,
                                             const AttentionBlockConfig& config) {
  const int64_t N = build.max_tokens(), C = config.hidden_size, H = config.num_attention_heads;
  const TensorView* dgate = config.variant.gated()
                                ? build.arena.Reserve("dgate", MemoryPurpose::kScratch,
                                                      AccumulatorDType(build.dtype), {N, H})
                                : nullptr;
  return {.dqkv = build.Scratch("dqkv", {N, 3 * C}),
          .dgate = dgate,
          .dattended = build.Scratch("dattended", {N, C})};
}

void AttentionBlock::Bind(const ParameterStore& parameters) {
  const int64_t C = config_.hidden_size;
  qkv_.Bind({.weight = parameters.WorkingJoined(qkv_weight_, 3, {3 * C, C}),
             .bias = parameters.WorkingJoined(qkv_bias_, 3, {3 * C}),
             .weight_gradient = parameters.GradientJoined(qkv_weight_, 3, {3 * C, C}),
             .bias_gradient = parameters.GradientJoined(qkv_bias_, 3, {3 * C})});
  output_.Bind({.weight = parameters.Working(output_weight_),
                .bias = parameters.Working(output_bias_),
                .weight_gradient = parameters.Gradient(output_weight_),
                .bias_gradient = parameters.Gradient(output_bias_)});
  if (gate_weight_ >= 0) {
    gate_weight_value_ = parameters.Working(gate_weight_);
    gate_weight_gradient_ = parameters.Gradient(gate_weight_);
  }
  if (gate_bias_ >= 0) {
    gate_bias_value_ = parameters.Working(gate_bias_);
    gate_bias_gradient_ = parameters.Gradient(gate_bias_);
  }
}

void AttentionBlock::WeightsChanged() {
  qkv_.WeightsChanged();
  output_.WeightsChanged();
}

ops::AttentionDims AttentionBlock::Dims(const ForwardPass& pass) const {
  const int64_t H = config_.num_attention_heads;
  return {pass.B, pass.T, H, config_.hidden_size / H};
}

TensorView AttentionBlock::GateSource(const TensorView& x, const TensorView& qkv) const {
  const int64_t C = config_.hidden_size;
  return config_.variant.gate_source == ops::GateSource::kInput ? x.Columns(0, C)
                                                                : qkv.Columns(2 * C, C);
}

absl::Status AttentionBlock::Forward(ExecutionContext& context, const ForwardPass& pass,
                                     const TensorView& x, const AttentionActivations& saved,
                                     const TensorView& y) {
  const int64_t N = pass.tokens(), C = config_.hidden_size, H = config_.num_attention_heads;
  const TensorView qkv = saved.qkv->Prefix({N, 3 * C});
  const TensorView attended = saved.attended->Prefix({N, C});
  TensorView gate;

  RETURN_IF_ERROR(qkv_.Forward(context, x, qkv));
  if (config_.variant.gated()) {
    gate = saved.gate->Prefix({N, H});
    RETURN_IF_ERROR(ops::Run(context, ops::AttentionGateForward{.source = GateSource(x, qkv),
                                                                .weight = gate_weight_value_,
                                                                .bias = gate_bias_value_,
                                                                .gate = gate}));
    if (pass.observer != nullptr) pass.observer->Observe(layer_, "gate", gate);
  }
  RETURN_IF_ERROR(ops::Run(
      context,
      ops::AttentionForward{.dims = Dims(pass),
                            .qkv = qkv,
                            .gate = gate,
                            .out = attended,
                            .log_sum_exp = saved.log_sum_exp->Prefix({pass.B, H, pass.T}),
                            .gate_site = config_.variant.gate_site,
                            .mask = pass.mask,
                            .dropout = MakeDropout(pass, config_.attention_probs_dropout_prob,
                                                   layer_, DropoutSite::kAttentionProbs)}));
  return output_.Forward(context, attended, y);
}

absl::Status AttentionBlock::Backward(ExecutionContext& context, const ForwardPass& pass,
                                      const TensorView& x, const AttentionActivations& saved,
                                      const AttentionScratch& scratch, const TensorView& dy,
                                      const TensorView& dx) {
  const int64_t N = pass.tokens(), C = config_.hidden_size, H = config_.num_attention_heads;
  const TensorView qkv = saved.qkv->Prefix({N, 3 * C});
  const TensorView dqkv = scratch.dqkv->Prefix({N, 3 * C});
  const TensorView dattended = scratch.dattended->Prefix({N, C});
  TensorView gate, dgate;
  if (config_.variant.gated()) {
    gate = saved.gate->Prefix({N, H});
    dgate = scratch.dgate->Prefix({N, H});
  }

  RETURN_IF_ERROR(output_.BackwardWeight(context, saved.attended->Prefix({N, C}), dy));
  RETURN_IF_ERROR(output_.BackwardInput(context, dy, dattended, /*accumulate=*/false));
  RETURN_IF_ERROR(ops::Run(
      context,
      ops::AttentionBackward{.dims = Dims(pass),
                             .qkv = qkv,
                             .gate = gate,
                             .log_sum_exp = saved.log_sum_exp->Prefix({pass.B, H, pass.T}),
                             .dout = dattended,
                             .dqkv = dqkv,
                             .dgate = dgate,
                             .gate_site = config_.variant.gate_site,
                             .mask = pass.mask,
                             .dropout = MakeDropout(pass, config_.attention_probs_dropout_prob,
                                                    layer_, DropoutSite::kAttentionProbs)}));
  if (config_.variant.gated()) {
    RETURN_IF_ERROR(ops::Run(context, ops::AttentionGateBackward{.source = GateSource(x, qkv),
                                                                 .weight = gate_weight_value_,
                                                                 .gate = gate,
                                                                 .dgate = dgate,
                                                                 .dsource = GateSource(dx, dqkv),
                                                                 .dweight = gate_weight_gradient_,
                                                                 .dbias = gate_bias_gradient_}));
  }
  RETURN_IF_ERROR(qkv_.BackwardWeight(context, x, dqkv));
  return qkv_.BackwardInput(context, dqkv, dx, /*accumulate=*/true);
}

}  // namespace sluice
