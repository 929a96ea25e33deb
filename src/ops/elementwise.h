// Whole-buffer passes: conversions and zeroing.
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// working = master rounded to working's dtype. Nothing to do when they share memory.
absl::Status RoundToWorking(const ExecutionContext& context, const TensorView& master,
                            const TensorView& working);

absl::Status Zero(const ExecutionContext& context, const TensorView& x);

}  // namespace sluice::ops
