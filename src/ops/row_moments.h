// Moments of rows and squares of channels, for outlier metrics; formulas in
// kernels/api/row_moments.h.
#pragma once

#include "absl/status/status.h"
#include "kernels/api/row_moments.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct RowMomentsCall {
  TensorView x;            // (N, C), working dtype or fp64
  RowMomentSums* moments;  // (N), overwritten
  double* squares;         // (N / group, C), overwritten
  int64_t group;           // rows; divides N
};
// All memory is the context's device's.
absl::Status Run(ExecutionContext& context, const RowMomentsCall& call);
// All memory is the host's; fp16 too.
absl::Status RunOnHost(const RowMomentsCall& call);

}  // namespace sluice::ops
