#include "ops/attention_gate.h"

#include "core/integer_math.h"
#include "core/status.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

void CheckWeight(const TensorView& weight, int64_t C, bool per_head_slice) {
  const int64_t H = weight.dim(0);
  CHECK_EQ(C % H, 0) << "heads do not divide the features";
  CHECK_EQ(weight.dim(1), per_head_slice ? C / H : C);
}

int64_t BackwardWorkspaceBytes(const ExecutionContext& context, int64_t N, int64_t C, int64_t H) {
  return context.on_cuda() ? cuda::AttentionGateBackwardWorkspaceBytes(N, C, H)
                           : AttentionGateBackwardWorkspaceBytes(N, C, H);
}

template <typename T>
GateCurve<Accumulator<T>> CurveOf(const GateCurve<double>& curve) {
  CHECK(curve.steepness > 0 && curve.scale > 0) << curve.steepness << ", " << curve.scale;
  return {static_cast<Accumulator<T>>(curve.steepness), static_cast<Accumulator<T>>(curve.scale)};
}

absl::Status Sigmoid(ExecutionContext& context, DType dtype, const TensorView& gate,
                     const GateCurve<double>& curve) {
  return Dispatch(
      context, "channel gate sigmoid", dtype,
      [&]<typename T>() {
        return GateSigmoidForwardArgs<T>{.gate = gate.as<Accumulator<T>>(),
                                         .count = gate.elements(),
                                         .curve = CurveOf<T>(curve)};
      },
      SLUICE_KERNELS(GateSigmoidForward));
}

absl::Status SigmoidBackward(ExecutionContext& context, const ChannelGate::Gradients& call,
                             const GateCurve<double>& curve, const TensorView& dlogits) {
  return Dispatch(
      context, "channel gate sigmoid backward", dlogits.dtype(),
      [&]<typename T>() {
        return GateSigmoidBackwardArgs<T>{.gate = call.gate.as<Accumulator<T>>(),
                                          .dgate = call.dgate.as<Accumulator<T>>(),
                                          .dlogits = dlogits.as<T>(),
                                          .count = dlogits.elements(),
                                          .curve = CurveOf<T>(curve)};
      },
      SLUICE_KERNELS(GateSigmoidBackward));
}

}  // namespace

absl::Status Run(ExecutionContext& context, const AttentionGateForward& call) {
  const int64_t N = call.source.rows(), C = call.source.dim(-1), H = call.weight.dim(0);
  CheckWeight(call.weight, C, call.per_head_slice);
  CHECK_EQ(call.gate.elements(), N * H);
  return Dispatch(
      context, "attention_gate forward", call.source.dtype(),
      [&]<typename T>() {
        return AttentionGateForwardArgs<T>{.source = call.source.as<T>(),
                                           .weight = call.weight.as<T>(),
                                           .bias = call.bias.as<T>(),
                                           .gate = call.gate.as<Accumulator<T>>(),
                                           .N = N,
                                           .C = C,
                                           .H = H,
                                           .source_stride = call.source.row_stride(),
                                           .per_head_slice = call.per_head_slice,
                                           .curve = CurveOf<T>(call.curve)};
      },
      SLUICE_KERNELS(AttentionGateForward));
}

absl::Status Run(ExecutionContext& context, const AttentionGateBackward& call) {
  const int64_t N = call.source.rows(), C = call.source.dim(-1), H = call.weight.dim(0);
  CheckWeight(call.weight, C, call.per_head_slice);
  CHECK_EQ(call.dsource.shape(), call.source.shape());
  CHECK_EQ(call.dgate.elements(), N * H);
  CHECK_EQ(call.dweight.elements(), call.weight.elements());
  return Dispatch(
      context, "attention_gate backward", call.source.dtype(),
      [&]<typename T>() {
        return AttentionGateBackwardArgs<T>{
            .source = call.source.as<T>(),
            .weight = call.weight.as<T>(),
            .gate = call.gate.as<Accumulator<T>>(),
            .dgate = call.dgate.as<Accumulator<T>>(),
            .dsource = call.dsource.as<T>(),
            .dweight = call.dweight.as<Accumulator<T>>(),
            .dbias = call.dbias.as<Accumulator<T>>(),
            .workspace = context.workspace(BackwardWorkspaceBytes(context, N, C, H)),
            .N = N,
            .C = C,
            .H = H,
            .source_stride = call.source.row_stride(),
            .dsource_stride = call.dsource.row_stride(),
            .per_head_slice = call.per_head_slice,
            .curve = CurveOf<T>(call.curve)};
      },
      SLUICE_KERNELS(AttentionGateBackward));
}

absl::Status Run(ExecutionContext& context, const FreeGateForward& call) {
  const int64_t H = call.logit.elements();
  CHECK_EQ(call.gate.dim(-1), H);
  return Dispatch(
      context, "free gate forward", call.logit.dtype(),
      [&]<typename T>() {
        return AttentionGateForwardArgs<T>{.source = nullptr,
                                           .weight = nullptr,
                                           .bias = call.logit.as<T>(),
                                           .gate = call.gate.as<Accumulator<T>>(),
                                           .N = call.gate.rows(),
                                           .C = 0,
                                           .H = H,
                                           .source_stride = 0,
                                           .curve = CurveOf<T>(call.curve)};
      },
      SLUICE_KERNELS(AttentionGateForward));
}

absl::Status Run(ExecutionContext& context, const FreeGateBackward& call) {
  const int64_t N = call.gate.rows(), H = call.logit.elements();
  CHECK_EQ(call.dgate.elements(), N * H);
  CHECK_EQ(call.dlogit.elements(), H);
  return Dispatch(
      context, "free gate backward", call.logit.dtype(),
      [&]<typename T>() {
        return AttentionGateBackwardArgs<T>{
            .source = nullptr,
            .weight = nullptr,
            .gate = call.gate.as<Accumulator<T>>(),
            .dgate = call.dgate.as<Accumulator<T>>(),
            .dsource = nullptr,
            .dweight = nullptr,
            .dbias = call.dlogit.as<Accumulator<T>>(),
            .workspace = context.workspace(BackwardWorkspaceBytes(context, N, 0, H)),
            .N = N,
            .C = 0,
            .H = H,
            .source_stride = 0,
            .dsource_stride = 0,
            .curve = CurveOf<T>(call.curve)};
      },
      SLUICE_KERNELS(AttentionGateBackward));
}

void PlanAttentionGate(ExecutionContext& context, int64_t N, int64_t C, int64_t H) {
  context.NeedWorkspace(BackwardWorkspaceBytes(context, N, C, H));
}

void ChannelGate::Plan(ExecutionContext& context, Arena& arena, absl::string_view name, DType dtype,
                       const Dims& dims, bool train) {
  dims_ = dims;
  const int64_t C = dims.H * dims.D, block = dims.per_head_slice ? dims.D : C;
  projection_.Plan(context, arena, name, dtype, {dims.rows, C / block, block, block}, train);
  // The gradients of the logits lie behind what the projection's backward uses meanwhile.
  logits_offset_ = RoundUp(projection_.backward_workspace_bytes(), int64_t{256});
  if (train) context.NeedWorkspace(logits_offset_ + dims.rows * C * SizeOf(dtype));
}

void ChannelGate::Bind(const Linear::Parameters& parameters) { projection_.Bind(parameters); }

void ChannelGate::WeightsChanged() { projection_.WeightsChanged(); }

absl::Status ChannelGate::Forward(ExecutionContext& context, const TensorView& source,
                                  const TensorView& gate) {
  CHECK_EQ(source.dim(-1), dims_.H * dims_.D);
  CHECK_EQ(gate.elements(), source.elements());
  RETURN_IF_ERROR(projection_.ForwardLogits(context, source, gate));
  return Sigmoid(context, source.dtype(), gate, dims_.curve);
}

absl::Status ChannelGate::Backward(ExecutionContext& context, const Gradients& call) {
  const int64_t C = dims_.H * dims_.D, N = call.source.rows();
  CHECK_EQ(call.source.dim(-1), C);
  CHECK_EQ(call.gate.elements(), N * C);
  CHECK_EQ(call.dgate.elements(), N * C);
  const DType dtype = call.source.dtype();
  auto* const workspace =
      static_cast<char*>(context.workspace(logits_offset_ + N * C * SizeOf(dtype)));
  const TensorView dlogits(workspace + logits_offset_, dtype, {N, C});
  RETURN_IF_ERROR(SigmoidBackward(context, call, dims_.curve, dlogits));
  return projection_.Backward(context, call.source, dlogits, call.dsource);
}

}  // namespace sluice::ops
