#include "ops/row_moments.h"

#include <algorithm>
#include <vector>

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

// A processor has no kernel for fp16, which fp32 holds exactly.
absl::Status WidenAndRun(const RowMomentsCall& call) {
  const int64_t rows = call.x.rows(), columns = call.x.dim(-1);
  std::vector<float> wide(rows * columns);
  for (int64_t row = 0; row < rows; ++row) {
    const fp16* from = call.x.as<fp16>() + row * call.x.row_stride();
    std::copy(from, from + columns, wide.begin() + row * columns);
  }
  return cpu::RowMoments<float>({.x = wide.data(),
                                 .moments = call.moments,
                                 .squares = call.squares,
                                 .N = rows,
                                 .C = columns,
                                 .group = call.group,
                                 .row_stride = columns});
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
    case DType::kFloat16:
      return WidenAndRun(call);
    default:
      CHECK(false) << "moments of " << DTypeName(call.x.dtype());
      return absl::OkStatus();
  }
}

}  // namespace sluice::ops
