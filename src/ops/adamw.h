// One AdamW update over flat buffers; formula in kernels/api/adamw.h.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "kernels/api/adamw.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct AdamW {
  TensorView master, gradient, m, v;  // (n), accumulator dtype; gradient is zeroed
  TensorView working;  // (n), working dtype; the same memory as master when the dtypes are equal
  std::span<const AdamWSegment> segments;
  float gradient_scale, learning_rate, beta1, beta2, eps;
  int64_t t;  // updates done, this one included
};
absl::Status Run(ExecutionContext& context, const AdamW& call);

}  // namespace sluice::ops
