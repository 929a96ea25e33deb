#include "ops/attention.h"

#include <cmath>

#include "core/parallel.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

void CheckShapes(const AttentionDims& dims, const TensorView& qkv, const TensorView& gate,
                 GateSite gate_site) {
  CHECK_EQ(qkv.rows(), dims.B * dims.T);
  CHECK_EQ(qkv.dim(-1), 3 * dims.H * dims.D);
  CHECK_EQ(gate.null(), gate_site == GateSite::kNone);
  if (!gate.null()) CHECK_EQ(gate.elements(), dims.B * dims.T * dims.H);
}

}  // namespace

absl::Status Run(ExecutionContext& context, const AttentionForward& call) {
  const auto [B, T_, H, D] = call.dims;
  CheckShapes(call.dims, call.qkv, call.gate, call.gate_site);
  CHECK_EQ(call.out.elements(), B * T_ * H * D);
  return Dispatch(
      context, "attention forward", call.qkv.dtype(),
      [&]<typename T>() {
        const T* qkv = call.qkv.as<T>();
        return AttentionForwardArgs<T>{
            .q = qkv,
            .k = qkv + call.dims.H * call.dims.D,
            .v = qkv + 2 * call.dims.H * call.dims.D,
            .gate = call.gate.as<Accumulator<T>>(),
            .out = call.out.as<T>(),
            .log_sum_exp = call.log_sum_exp.as<Accumulator<T>>(),
            .B = call.dims.B,
            .T_ = call.dims.T,
            .H = call.dims.H,
            .D = call.dims.D,
            .qkv_stride = call.qkv.row_stride(),
            .scale = Accumulator<T>(1 / std::sqrt(static_cast<double>(call.dims.D))),
            .gate_site = call.gate_site,
            .mask = call.mask,
            .dropout = call.dropout,
            .workspace = context.workspace(AttentionForwardWorkspaceBytes(
                call.dims.T, call.dims.H, call.dims.D, ComputeThreads()))};
      },
      reference::AttentionForward, [](const auto& args) { return cpu::AttentionForward(args); });
}

absl::Status Run(ExecutionContext& context, const AttentionBackward& call) {
  const auto [B, T_, H, D] = call.dims;
  CheckShapes(call.dims, call.qkv, call.gate, call.gate_site);
  CHECK_EQ(call.dout.elements(), B * T_ * H * D);
  CHECK_EQ(call.dqkv.elements(), call.qkv.elements());
  CHECK_EQ(call.dqkv.row_stride(), call.qkv.row_stride());
  return Dispatch(
      context, "attention backward", call.qkv.dtype(),
      [&]<typename T>() {
        const T* qkv = call.qkv.as<T>();
        T* dqkv = call.dqkv.as<T>();
        const int64_t C = call.dims.H * call.dims.D;
        return AttentionBackwardArgs<T>{
            .q = qkv,
            .k = qkv + C,
            .v = qkv + 2 * C,
            .gate = call.gate.as<Accumulator<T>>(),
            .log_sum_exp = call.log_sum_exp.as<Accumulator<T>>(),
            .dout = call.dout.as<T>(),
            .dq = dqkv,
            .dk = dqkv + C,
            .dv = dqkv + 2 * C,
            .dgate = call.dgate.as<Accumulator<T>>(),
            .B = call.dims.B,
            .T_ = call.dims.T,
            .H = call.dims.H,
            .D = call.dims.D,
            .qkv_stride = call.qkv.row_stride(),
            .scale = Accumulator<T>(1 / std::sqrt(static_cast<double>(call.dims.D))),
            .gate_site = call.gate_site,
            .mask = call.mask,
            .dropout = call.dropout,
            .workspace = context.workspace(AttentionBackwardWorkspaceBytes(
                call.dims.T, call.dims.H, call.dims.D, ComputeThreads()))};
      },
      reference::AttentionBackward, [](const auto& args) { return cpu::AttentionBackward(args); });
}

void PlanAttention(ExecutionContext& context, const AttentionDims& dims, bool train) {
  context.NeedWorkspace(AttentionForwardWorkspaceBytes(dims.T, dims.H, dims.D, ComputeThreads()));
  if (!train) return;
  context.NeedWorkspace(AttentionBackwardWorkspaceBytes(dims.T, dims.H, dims.D, ComputeThreads()));
}

}  // namespace sluice::ops
