// Dropout of hidden states where it cannot be fused with a LayerNorm; definition in
// kernels/api/dropout.h.
#pragma once

#include "absl/status/status.h"
#include "kernels/api/dropout.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// y = x · mask · scale, (N, C); y may be x. The same call on a gradient is its backward.
absl::Status DropoutForward(ExecutionContext& context, const Dropout& dropout, const TensorView& x,
                            const TensorView& y);

}  // namespace sluice::ops
