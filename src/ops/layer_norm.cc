#include "ops/layer_norm.h"

#include "kernels/api/layer_norm.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

int64_t BackwardWorkspaceBytes(const ExecutionContext& context, int64_t N, int64_t C) {
  return context.on_cuda() ? cuda::LayerNormBackwardWorkspaceBytes(N, C)
                           : LayerNormBackwardWorkspaceBytes(N, C);
}

}  // namespace

absl::Status Run(ExecutionContext& context, const LayerNormForward& call) {
  const int64_t N = call.x.rows(), C = call.x.dim(-1);
  CHECK_EQ(call.y.elements(), N * C);
  CHECK_EQ(call.weight.elements(), C);
  CHECK(!call.sum.null() || (call.residual.null() && !call.dropout.enabled()));
  return Dispatch(
      context, "layer_norm forward", call.x.dtype(),
      [&]<typename T>() {
        return LayerNormForwardArgs<T>{.x = call.x.as<T>(),
                                       .residual = call.residual.as<T>(),
                                       .weight = call.weight.as<T>(),
                                       .bias = call.bias.as<T>(),
                                       .sum = call.sum.as<T>(),
                                       .y = call.y.as<T>(),
                                       .mean = call.mean.as<Accumulator<T>>(),
                                       .rstd = call.rstd.as<Accumulator<T>>(),
                                       .N = N,
                                       .C = C,
                                       .eps = call.eps,
                                       .dropout = call.dropout};
      },
      SLUICE_KERNELS(LayerNormForward));
}

absl::Status Run(ExecutionContext& context, const LayerNormBackward& call) {
  const int64_t N = call.dy.rows(), C = call.dy.dim(-1);
  CHECK_EQ(call.sum.elements(), N * C);
  CHECK_EQ(call.dsum.elements(), N * C);
  CHECK_EQ(call.dweight.elements(), C);
  CHECK(!call.dx.null() || !call.dropout.enabled());
  return Dispatch(
      context, "layer_norm backward", call.dy.dtype(),
      [&]<typename T>() {
        return LayerNormBackwardArgs<T>{
            .dy = call.dy.as<T>(),
            .dsum_in = call.dsum_in.as<T>(),
            .sum = call.sum.as<T>(),
            .weight = call.weight.as<T>(),
            .mean = call.mean.as<Accumulator<T>>(),
            .rstd = call.rstd.as<Accumulator<T>>(),
            .dsum = call.dsum.as<T>(),
            .dx = call.dx.as<T>(),
            .dweight = call.dweight.as<Accumulator<T>>(),
            .dbias = call.dbias.as<Accumulator<T>>(),
            .workspace = context.workspace(BackwardWorkspaceBytes(context, N, C)),
            .N = N,
            .C = C,
            .dropout = call.dropout};
      },
      SLUICE_KERNELS(LayerNormBackward));
}

void PlanLayerNorm(ExecutionContext& context, int64_t N, int64_t C) {
  context.NeedWorkspace(BackwardWorkspaceBytes(context, N, C));
}

}  // namespace sluice::ops
