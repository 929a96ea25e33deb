#include "ops/attention_gate.h"

#include "kernels/api/attention_gate.h"
#include "ops/dispatch.h"

namespace sluice::ops {

absl::Status Run(ExecutionContext& context, const AttentionGateForward& call) {
  const int64_t N = call.source.rows(), C = call.source.dim(-1), H = call.weight.dim(0);
  CHECK_EQ(call.weight.dim(1), C);
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
                                           .source_stride = call.source.row_stride()};
      },
      reference::AttentionGateForward,
      [](const auto& args) { return cpu::AttentionGateForward(args); });
}

absl::Status Run(ExecutionContext& context, const AttentionGateBackward& call) {
  const int64_t N = call.source.rows(), C = call.source.dim(-1), H = call.weight.dim(0);
  CHECK_EQ(call.weight.dim(1), C);
  CHECK_EQ(call.dsource.shape(), call.source.shape());
  CHECK_EQ(call.dgate.elements(), N * H);
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
            .workspace = context.workspace(AttentionGateBackwardWorkspaceBytes(N, C, H)),
            .N = N,
            .C = C,
            .H = H,
            .source_stride = call.source.row_stride(),
            .dsource_stride = call.dsource.row_stride()};
      },
      reference::AttentionGateBackward,
      [](const auto& args) { return cpu::AttentionGateBackward(args); });
}

void PlanAttentionGate(ExecutionContext& context, int64_t N, int64_t C, int64_t H) {
  context.NeedWorkspace(AttentionGateBackwardWorkspaceBytes(N, C, H));
}

}  // namespace sluice::ops
