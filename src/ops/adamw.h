// One AdamW update over flat buffers; formulas in kernels/api/adamw.h.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "kernels/api/adamw.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct AdamW {
  // (n), accumulator dtype. The gradient is zeroed; nothing changes where *decision says to skip.
  TensorView master, gradient, m, v;
  TensorView working;  // (n), working dtype; the same memory as master when the dtypes are equal
  std::span<const UpdateSegment> segments;  // memory of the device
  double gradient_scale;
  const UpdateDecision* decision = nullptr;  // memory of the device; null: neither clips nor skips
  float learning_rate, beta1, beta2, eps;
  int64_t t;  // updates done, this one included
};
absl::Status Run(ExecutionContext& context, const AdamW& call);

}  // namespace sluice::ops
