// Whole-buffer passes: norms, conversions, zeroing.
#pragma once

#include "ops/execution_context.h"

namespace sluice::ops {

// Σ x², in double; the same bits for any number of threads.
double SumOfSquares(const ExecutionContext& context, const TensorView& x);

// working = master rounded to working's dtype. Nothing to do when they share memory.
void RoundToWorking(const ExecutionContext& context, const TensorView& master,
                    const TensorView& working);

void Zero(const ExecutionContext& context, const TensorView& x);

// y += x, the same dtype and number of elements.
void AddInPlace(const ExecutionContext& context, const TensorView& x, const TensorView& y);

}  // namespace sluice::ops
