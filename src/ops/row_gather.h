// Picks rows and puts them back; definition in kernels/api/row_gather.h.
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// y[m] = x[rows[m]], zeros where rows[m] is -1. x (N, C), rows (M) int32, y (M, C).
absl::Status RowGather(ExecutionContext& context, const TensorView& x, const TensorView& rows,
                       const TensorView& y);
// dx[rows[m]] = dy[m]; other rows of dx stay.
absl::Status RowScatter(ExecutionContext& context, const TensorView& dy, const TensorView& rows,
                        const TensorView& dx);

}  // namespace sluice::ops
