#include "ops/row_moments.h"

#include "core/check.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

template <typename T>
RowMomentsArgs<T> Arguments(const RowMomentsCall& call) {
  return {.x = call.x.as<T>(),
          .moments = call.moments,
          .squares = call.squares,
          .N = call.x.rows(),
          .C = call.x.dim(-1),
          .group = call.group,
          .row_stride = call.x.row_stride()};
}

void CheckSizes(const RowMomentsCall& call) {
  CHECK_GE(call.group, 1);
  CHECK_EQ(call.x.rows() % call.group, 0);
}

}  // namespace

absl::Status Run(ExecutionContext& context, const RowMomentsCall& call) {
  CheckSizes(call);
  return Dispatch(
      context, "row_moments", call.x.dtype(), [&]<typename T>() { return Arguments<T>(call); },
      SLUICE_KERNELS(RowMoments));
}

absl::Status RunOnHost(const RowMomentsCall& call) {
  CheckSizes(call);
  switch (call.x.dtype()) {
    case DType::kFloat64:
      reference::RowMoments(Arguments<double>(call));
      return absl::OkStatus();
    case DType::kFloat32:
      return cpu::RowMoments(Arguments<float>(call));
    case DType::kBFloat16:
      return cpu::RowMoments(Arguments<bf16>(call));
    default:
      CHECK(false) << "moments of " << DTypeName(call.x.dtype());
      return absl::OkStatus();
  }
}

}  // namespace sluice::ops
