#include "ops/gate_sums.h"

#include "core/check.h"

namespace sluice::ops {
namespace {

void CheckSizes(const GateSumsArgs& args) {
  CHECK(args.classes >= 1 && args.classes < kUncountedToken) << args.classes;
  CHECK(args.H >= 1 && args.gates_per_head >= 1);
  CHECK_GE(args.row_stride, args.H * args.gates_per_head);
}

}  // namespace

absl::Status AddGateSumsOnHost(const GateSumsArgs& args) {
  CheckSizes(args);
  return cpu::GateSums(args);
}

absl::Status AddGateSums(ExecutionContext& context, const GateSumsArgs& args) {
  if (!context.on_cuda()) return AddGateSumsOnHost(args);
  const OpTimer timer(context, "gate sums");
  CheckSizes(args);
  return cuda::GateSums(args, context.stream());
}

}  // namespace sluice::ops
