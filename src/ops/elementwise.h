// Whole-buffer passes: conversions, zeroing, copies, sums of squares.
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// working = master rounded to working's dtype. Nothing to do when they share memory.
absl::Status RoundToWorking(const ExecutionContext& context, const TensorView& master,
                            const TensorView& working);

absl::Status Zero(const ExecutionContext& context, const TensorView& x);

// to = from: as many elements, of the same dtype, both contiguous.
absl::Status Copy(const ExecutionContext& context, const TensorView& from, const TensorView& to);

// *sum = Σ x², or Σ (x - minus)², in double. On a GPU it waits for nothing.
struct SumOfSquaresCall {
  TensorView x;           // (n), fp32, contiguous; without `minus`, on a CPU, also fp64
  TensorView minus = {};  // (n), fp32, contiguous; or null
  double* sum;            // memory of the device, overwritten
};
absl::Status Run(const ExecutionContext& context, const SumOfSquaresCall& call);
// Planning: its scratch.
void PlanSumOfSquares(ExecutionContext& context);

}  // namespace sluice::ops
