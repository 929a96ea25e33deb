#include "model/attention_block.h"

#include "core/status.h"
#include "ops/attention.h"
#include "ops/attention_gate.h"

namespace sluice {

// Parameters in the order in which backward finishes them.
AttentionBlock::AttentionBlock(const ModelBuild& build, const LayerNames& names, int layer,
                               const AttentionBlockConfig& config)
    : config_(config), layer_(layer) {
  const int64_t C = config.hidden_size, H = config.num_attention_heads, N = build.max_rows();
  output_.Add(build, names.attention_output, N, {C, C, config.output, config.biases});
  if (config.variant.gated()) AddGate(build, names);
  AddQueryKeyValue(build, names);
  ops::PlanAttention(build.context, {build.max_batch, build.row_length(), H, C / H}, build.train);
}

void AttentionBlock::AddGate(const ModelBuild& build, const LayerNames& names) {
  const int64_t C = config_.hidden_size, H = config_.num_attention_heads;
  const std::string name = names.attention + ".gate";
  gate_weight_ = build.parameters.Add(name + ".weight", {H, C}, config_.projections.Weight(C));
  if (config_.variant.gate_bias) {
    gate_bias_ = build.parameters.Add(name + ".bias", {H}, config_.projections.Bias(C));
  }
  if (build.train) ops::PlanAttentionGate(build.context, build.max_rows(), C, H);
}

void AttentionBlock::AddQueryKeyValue(const ModelBuild& build, const LayerNames& names) {
  const int64_t C = config_.hidden_size;
  ParameterStore& parameters = build.parameters;
  const InitialValues weight = config_.projections.Weight(C), bias = config_.projections.Bias(C);
  qkv_weight_ = parameters.Add(names.query + ".weight", {C, C}, weight);
  parameters.Add(names.key + ".weight", {C, C}, weight, /*joined=*/true);
  parameters.Add(names.value + ".weight", {C, C}, weight, /*joined=*/true);
  if (config_.biases) {
    qkv_bias_ = parameters.Add(names.query + ".bias", {C}, bias);
    parameters.Add(names.key + ".bias", {C}, bias, /*joined=*/true);
    parameters.Add(names.value + ".bias", {C}, bias, /*joined=*/true);
  }
  qkv_.Plan(build.context, build.arena, names.attention + ".qkv", build.dtype,
            {build.max_rows(), C, 3 * C}, build.train);
}

AttentionActivations AttentionBlock::PlanActivations(const ModelBuild& build,
                                                     const std::string& name,
                                                     const AttentionBlockConfig& config) {
  const int64_t N = build.max_rows(), C = config.hidden_size, H = config.num_attention_heads;
  return {.qkv = build.Activation(name + ".qkv", {N, 3 * C}),
          .gate = config.variant.gated() ? build.Statistic(name + ".gate", {N, H}) : nullptr,
          .log_sum_exp =
              build.Statistic(name + ".log_sum_exp", {build.max_batch, H, build.row_length()}),
          .attended = build.Activation(name + ".attended", {N, C})};
}

AttentionScratch AttentionBlock::PlanScratch(const ModelBuild& build,
                                             const AttentionBlockConfig& config) {
  const int64_t N = build.max_rows(), C = config.hidden_size, H = config.num_attention_heads;
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
  const bool biases = config_.biases;
  qkv_.Bind(
      {.weight = parameters.WorkingJoined(qkv_weight_, 3, {3 * C, C}),
       .bias = biases ? parameters.WorkingJoined(qkv_bias_, 3, {3 * C}) : TensorView(),
       .weight_gradient = parameters.GradientJoined(qkv_weight_, 3, {3 * C, C}),
       .bias_gradient = biases ? parameters.GradientJoined(qkv_bias_, 3, {3 * C}) : TensorView()});
  output_.Bind(parameters);
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
  const int64_t N = pass.rows(), C = config_.hidden_size, H = config_.num_attention_heads;
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

absl::Status AttentionBlock::GateBackward(ExecutionContext& context,
                                          const AttentionActivations& saved,
                                          const AttentionScratch& scratch,
                                          const BackwardCall& call) {
  const int64_t N = call.x.rows(), C = config_.hidden_size, H = config_.num_attention_heads;
  const TensorView qkv = saved.qkv->Prefix({N, 3 * C}), dqkv = scratch.dqkv->Prefix({N, 3 * C});
  return ops::Run(context, ops::AttentionGateBackward{.source = GateSource(call.x, qkv),
                                                      .weight = gate_weight_value_,
                                                      .gate = saved.gate->Prefix({N, H}),
                                                      .dgate = scratch.dgate->Prefix({N, H}),
                                                      .dsource = GateSource(call.dx, dqkv),
                                                      .dweight = gate_weight_gradient_,
                                                      .dbias = gate_bias_gradient_});
}

absl::Status AttentionBlock::Backward(ExecutionContext& context, const ForwardPass& pass,
                                      const AttentionActivations& saved,
                                      const AttentionScratch& scratch, const BackwardCall& call) {
  const int64_t N = pass.rows(), C = config_.hidden_size, H = config_.num_attention_heads;
  const TensorView dqkv = scratch.dqkv->Prefix({N, 3 * C});
  const TensorView dattended = scratch.dattended->Prefix({N, C});
  const bool gated = config_.variant.gated();

  RETURN_IF_ERROR(output_.BackwardWeight(context, saved.attended->Prefix({N, C}), call.dy));
  RETURN_IF_ERROR(output_.BackwardInput(context, call.dy, dattended, /*accumulate=*/false));
  RETURN_IF_ERROR(ops::Run(
      context,
      ops::AttentionBackward{.dims = Dims(pass),
                             .qkv = saved.qkv->Prefix({N, 3 * C}),
                             .gate = gated ? saved.gate->Prefix({N, H}) : TensorView(),
                             .log_sum_exp = saved.log_sum_exp->Prefix({pass.B, H, pass.T}),
                             .dout = dattended,
                             .dqkv = dqkv,
                             .dgate = gated ? scratch.dgate->Prefix({N, H}) : TensorView(),
                             .gate_site = config_.variant.gate_site,
                             .mask = pass.mask,
                             .dropout = MakeDropout(pass, config_.attention_probs_dropout_prob,
                                                    layer_, DropoutSite::kAttentionProbs)}));
  // A gate from the values adds to dqkv, so it comes before the projection's backward; one from the
  // input adds to dx, so it comes behind.
  if (gated && !gated_by_input()) {
    RETURN_IF_ERROR(GateBackward(context, saved, scratch, call));
  }
  RETURN_IF_ERROR(qkv_.BackwardWeight(context, call.x, dqkv));
  RETURN_IF_ERROR(qkv_.BackwardInput(context, dqkv, call.dx, call.accumulate));
  return gated_by_input() ? GateBackward(context, saved, scratch, call) : absl::OkStatus();
}

}  // namespace sluice
