#include "model/attention_block.h"

#include "core/status.h"
#include "ops/attention.h"

namespace sluice {
namespace {

// Layers without gates may share their activations with others that have them.
TensorView UngatedOf(const AttentionActivations& saved, const ops::AttentionVariant& variant,
                     const Shape& shape) {
  if (saved.ungated == nullptr) return {};
  return (variant.gate_site == GateSite::kQuery ? saved.ungated : saved.attended)->Prefix(shape);
}

Shape HiddenShape(int64_t N, int64_t H, const ops::AttentionVariant& variant) {
  return {N, H * variant.gate_hidden_size};
}

}  // namespace

// Parameters in the order in which backward finishes them.
AttentionBlock::AttentionBlock(const ModelBuild& build, const LayerNames& names, int layer,
                               const AttentionBlockConfig& config)
    : config_(config), layer_(layer) {
  const int64_t C = config.hidden_size, H = config.num_attention_heads, N = build.max_rows();
  output_.Add(build, names.attention_output, N, {C, C, config.output, config.biases});
  AddSinks(build, names);
  if (config.variant.gated()) {
    gate_.Add(build, names.attention + ".gate",
              {.num_attention_heads = H,
               .head_size = C / H,
               .variant = config.variant,
               .initialization = config.projections,
               .initial_probability = config.gate_initial_probability,
               .initializer_range = config.gate_initializer_range});
  }
  AddQueryKeyValue(build, names);
  ops::PlanAttention(build.context, {build.max_batch, build.row_length(), H, C / H}, build.train,
                     config.variant);
}

// A sink's logit starts at 0, where it is softmax plus one.
void AttentionBlock::AddSinks(const ModelBuild& build, const LayerNames& names) {
  const int64_t C = config_.hidden_size, H = config_.num_attention_heads;
  const std::string name = names.attention + ".sink.";
  if (config_.variant.sink == SoftmaxSink::kLogit) {
    sink_logit_ = build.parameters.Add(name + "logit", {H}, {});
  }
  if (!config_.variant.sink_token) return;
  const InitialValues initial = config_.projections.Weight(C);
  sink_key_ = build.parameters.Add(name + "key", {H, C / H}, initial);
  sink_value_ = build.parameters.Add(name + "value", {H, C / H}, initial);
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
  const int64_t G = config.variant.GateOutputs(H, C / H);
  const TensorView* attended = build.Activation(name + ".attended", {N, C});
  const TensorView* ungated = nullptr;
  if (build.context.cudnn() != nullptr) {
    ungated = config.variant.gate_site == GateSite::kQuery
                  ? build.Activation(name + ".ungated", {N, C})
                  : attended;
  }
  return {.qkv = build.Activation(name + ".qkv", {N, 3 * C}),
          .gate = config.variant.gated() ? build.Statistic(name + ".gate", {N, G}) : nullptr,
          .gate_hidden =
              config.variant.gate_is_perceptron()
                  ? build.Activation(name + ".gate.hidden", HiddenShape(N, H, config.variant))
                  : nullptr,
          .log_sum_exp =
              build.Statistic(name + ".log_sum_exp", {build.max_batch, H, build.row_length()}),
          .attended = attended,
          .ungated = ungated};
}

AttentionScratch AttentionBlock::PlanScratch(const ModelBuild& build,
                                             const AttentionBlockConfig& config) {
  const int64_t N = build.max_rows(), C = config.hidden_size, H = config.num_attention_heads;
  const int64_t G = config.variant.GateOutputs(H, C / H);
  const TensorView* dgate = config.variant.gated()
                                ? build.arena.Reserve("dgate", MemoryPurpose::kScratch,
                                                      AccumulatorDType(build.dtype), {N, G})
                                : nullptr;
  return {.dqkv = build.Scratch("dqkv", {N, 3 * C}),
          .dgate = dgate,
          .dgate_hidden = config.variant.gate_is_perceptron()
                              ? build.Scratch("dgate.hidden", HiddenShape(N, H, config.variant))
                              : nullptr,
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
  if (config_.variant.gated()) gate_.Bind(parameters);
  parameters_ = &parameters;
}

void AttentionBlock::WeightsChanged() {
  qkv_.WeightsChanged();
  output_.WeightsChanged();
  if (config_.variant.gated()) gate_.WeightsChanged();
}

ops::AttentionDims AttentionBlock::Dims(const ForwardPass& pass) const {
  const int64_t H = config_.num_attention_heads;
  return {pass.B, pass.T, H, config_.hidden_size / H};
}

GateTensors AttentionBlock::TensorsOfGate(const TensorView& x,
                                          const AttentionActivations& saved) const {
  const int64_t N = x.rows(), C = config_.hidden_size, H = config_.num_attention_heads;
  return {.source =
              gated_by_input() ? x.Columns(0, C) : saved.qkv->Prefix({N, 3 * C}).Columns(2 * C, C),
          .gate = saved.gate->Prefix({N, config_.variant.GateOutputs(H, C / H)}),
          .dgate = {},
          .dsource = {},
          .hidden = saved.gate_hidden == nullptr
                        ? TensorView()
                        : saved.gate_hidden->Prefix(HiddenShape(N, H, config_.variant)),
          .dhidden = {}};
}

absl::Status AttentionBlock::AttentionForward(ExecutionContext& context, const ForwardPass& pass,
                                              const TensorView& qkv, const TensorView& gate,
                                              const AttentionActivations& saved) {
  const int64_t N = pass.rows(), C = config_.hidden_size, H = config_.num_attention_heads;
  const ops::AttentionVariant& variant = config_.variant;
  const TensorView attended = saved.attended->Prefix({N, C});
  auto working = [&](int index) { return index < 0 ? TensorView() : parameters_->Working(index); };
  using Look = Observer::AttentionLook;
  const Look look = pass.observer == nullptr ? Look::kNone : pass.observer->attention_look();
  if (look != Look::kReplace) {
    RETURN_IF_ERROR(ops::Run(
        context,
        ops::AttentionForward{.dims = Dims(pass),
                              .qkv = qkv,
                              .gate = gate,
                              .out = attended,
                              .log_sum_exp = saved.log_sum_exp->Prefix({pass.B, H, pass.T}),
                              .gate_site = variant.gate_site,
                              .gate_per_channel = variant.gate_per_channel(),
                              .weights = variant.weights,
                              .clip = variant.clip,
                              .sink = variant.sink,
                              .sink_logit = working(sink_logit_),
                              .sink_key = working(sink_key_),
                              .sink_value = working(sink_value_),
                              .mask = pass.mask,
                              .dropout = MakeDropout(pass, config_.attention_probs_dropout_prob,
                                                     layer_, DropoutSite::kAttentionProbs),
                              .ungated = UngatedOf(saved, variant, {pass.rows(), C})}));
  }
  if (look == Look::kNone) return absl::OkStatus();
  return ShowAttention(context, *pass.observer, layer_,
                       {.B = pass.B,
                        .T = pass.T,
                        .H = H,
                        .D = C / H,
                        .qkv = qkv,
                        .gate = gate,
                        .sink_logit = working(sink_logit_),
                        .sink_key = working(sink_key_),
                        .sink_value = working(sink_value_),
                        .variant = variant,
                        .mask = pass.mask,
                        .context = attended});
}

absl::Status AttentionBlock::Forward(ExecutionContext& context, const ForwardPass& pass,
                                     const TensorView& x, const AttentionActivations& saved,
                                     const TensorView& y) {
  const int64_t N = pass.rows(), C = config_.hidden_size;
  const ops::AttentionVariant& variant = config_.variant;
  const TensorView qkv = saved.qkv->Prefix({N, 3 * C});
  const TensorView attended = saved.attended->Prefix({N, C});
  TensorView gate;

  RETURN_IF_ERROR(qkv_.Forward(context, x, qkv));
  RETURN_IF_ERROR(Show(context, pass.observer, layer_, observed::kQueryKeyValue, qkv));
  if (variant.gated()) {
    const GateTensors tensors = TensorsOfGate(x, saved);
    gate = tensors.gate;
    RETURN_IF_ERROR(gate_.Forward(context, tensors));
    RETURN_IF_ERROR(Show(context, pass.observer, layer_, observed::kGate, gate));
  }
  RETURN_IF_ERROR(AttentionForward(context, pass, qkv, gate, saved));
  RETURN_IF_ERROR(Show(context, pass.observer, layer_, observed::kContext, attended));
  RETURN_IF_ERROR(output_.Forward(context, attended, y));
  return Show(context, pass.observer, layer_, observed::kAttentionOutput, y);
}

absl::Status AttentionBlock::GateBackward(ExecutionContext& context,
                                          const AttentionActivations& saved,
                                          const AttentionScratch& scratch,
                                          const BackwardCall& call) {
  const int64_t N = call.x.rows(), C = config_.hidden_size;
  GateTensors tensors = TensorsOfGate(call.x, saved);
  tensors.dgate = scratch.dgate->Prefix(tensors.gate.shape());
  if (!tensors.hidden.null()) {
    tensors.dhidden = scratch.dgate_hidden->Prefix(tensors.hidden.shape());
  }
  tensors.dsource =
      gated_by_input() ? call.dx.Columns(0, C) : scratch.dqkv->Prefix({N, 3 * C}).Columns(2 * C, C);
  return gate_.Backward(context, tensors);
}

absl::Status AttentionBlock::AttentionBackward(ExecutionContext& context, const ForwardPass& pass,
                                               const AttentionActivations& saved,
                                               const AttentionScratch& scratch) {
  const int64_t N = pass.rows(), C = config_.hidden_size, H = config_.num_attention_heads;
  const ops::AttentionVariant& variant = config_.variant;
  const Shape gates{N, variant.GateOutputs(H, C / H)};
  auto working = [&](int index) { return index < 0 ? TensorView() : parameters_->Working(index); };
  auto gradient = [&](int index) {
    return index < 0 ? TensorView() : parameters_->Gradient(index);
  };
  return ops::Run(
      context,
      ops::AttentionBackward{.dims = Dims(pass),
                             .qkv = saved.qkv->Prefix({N, 3 * C}),
                             .gate = variant.gated() ? saved.gate->Prefix(gates) : TensorView(),
                             .out = saved.attended->Prefix({N, C}),
                             .log_sum_exp = saved.log_sum_exp->Prefix({pass.B, H, pass.T}),
                             .dout = scratch.dattended->Prefix({N, C}),
                             .dqkv = scratch.dqkv->Prefix({N, 3 * C}),
                             .dgate = variant.gated() ? scratch.dgate->Prefix(gates) : TensorView(),
                             .gate_site = variant.gate_site,
                             .gate_per_channel = variant.gate_per_channel(),
                             .weights = variant.weights,
                             .clip = variant.clip,
                             .sink = variant.sink,
                             .sink_logit = working(sink_logit_),
                             .sink_key = working(sink_key_),
                             .sink_value = working(sink_value_),
                             .dsink_logit = gradient(sink_logit_),
                             .dsink_key = gradient(sink_key_),
                             .dsink_value = gradient(sink_value_),
                             .mask = pass.mask,
                             .dropout = MakeDropout(pass, config_.attention_probs_dropout_prob,
                                                    layer_, DropoutSite::kAttentionProbs),
                             .ungated = UngatedOf(saved, variant, {N, C})});
}

absl::Status AttentionBlock::Backward(ExecutionContext& context, const ForwardPass& pass,
                                      const AttentionActivations& saved,
                                      const AttentionScratch& scratch, const BackwardCall& call) {
  const int64_t N = pass.rows(), C = config_.hidden_size;
  const TensorView dqkv = scratch.dqkv->Prefix({N, 3 * C});
  RETURN_IF_ERROR(output_.BackwardWeight(context, saved.attended->Prefix({N, C}), call.dy));
  RETURN_IF_ERROR(output_.BackwardInput(context, call.dy, scratch.dattended->Prefix({N, C}),
                                        /*accumulate=*/false));
  RETURN_IF_ERROR(AttentionBackward(context, pass, saved, scratch));
  // A gate from the values adds to dqkv, so it comes before the projection's backward; one from the
  // input adds to dx, so it comes behind.
  if (config_.variant.gated() && !gated_by_input()) {
    RETURN_IF_ERROR(GateBackward(context, saved, scratch, call));
  }
  RETURN_IF_ERROR(qkv_.BackwardWeight(context, call.x, dqkv));
  RETURN_IF_ERROR(qkv_.BackwardInput(context, dqkv, call.dx, call.accumulate));
  return gated_by_input() ? GateBackward(context, saved, scratch, call) : absl::OkStatus();
}

}  // namespace sluice
