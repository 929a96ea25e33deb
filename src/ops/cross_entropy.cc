#include "ops/cross_entropy.h"

#include "kernels/api/cross_entropy.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

int64_t WorkspaceBytes(const ExecutionContext& context, int64_t M) {
  return context.on_cuda() ? cuda::CrossEntropyWorkspaceBytes(M) : 0;
}

}  // namespace

absl::Status Run(ExecutionContext& context, const CrossEntropy& call) {
  const int64_t M = call.logits.rows(), V = call.logits.dim(-1);
  CHECK_EQ(call.targets.elements(), M);
  if (!call.dlogits.null()) CHECK_EQ(call.dlogits.elements(), M * V);
  return Dispatch(
      context, "cross_entropy", call.dtype,
      [&]<typename T>() {
        return CrossEntropyArgs<T>{
            .logits = call.logits.as<Accumulator<T>>(),
            .targets = call.targets.as<int32_t>(),
            .dlogits = call.dlogits.as<T>(),
            .loss_sum = call.loss_sum,
            .target_count = call.target_count,
            .correct_count = call.correct_count,
            .row_loss = nullptr,
            .gradient_scale = static_cast<Accumulator<T>>(call.gradient_scale),
            .M = M,
            .V = V,
            .workspace = context.workspace(WorkspaceBytes(context, M))};
      },
      SLUICE_KERNELS(CrossEntropy));
}

void PlanCrossEntropy(ExecutionContext& context, int64_t M) {
  context.NeedWorkspace(WorkspaceBytes(context, M));
}

}  // namespace sluice::ops
