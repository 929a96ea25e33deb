// One update by stochastic gradient descent over flat buffers; formulas in kernels/api/sgd.h.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "kernels/api/sgd.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct Sgd {
  // (n), accumulator dtype. The gradient is zeroed; nothing changes where *decision says to skip.
  TensorView master, gradient, momentum_buffer;
  TensorView working;  // (n), working dtype; the same memory as master when the dtypes are equal
  std::span<const UpdateSegment> segments;  // memory of the device
  double gradient_scale;
  const UpdateDecision* decision = nullptr;  // memory of the device; null: neither clips nor skips
  float learning_rate, momentum;
};
absl::Status Run(ExecutionContext& context, const Sgd& call);

}  // namespace sluice::ops
