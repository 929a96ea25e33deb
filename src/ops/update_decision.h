// What decides an update, whatever its rule; formulas in kernels/api/parameter_update.h.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/parameter_update.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// *decision from the flat gradient and the loss, where they lie: nothing is waited for.
struct UpdateDecisionCall {
  TensorView gradient;  // (n), accumulator dtype
  const double* loss;   // memory of the device
  double gradient_scale, max_norm;
  UpdateDecision* decision;  // memory of the device, overwritten
};
absl::Status Run(ExecutionContext& context, const UpdateDecisionCall& call);

// Planning: scratch for decisions.
void PlanUpdateDecision(ExecutionContext& context);

// What an update makes of a decision: skip, or multiply the gradient by this; on a GPU the kernel
// reads it there.
struct DecidedUpdate {
  bool skip;
  float gradient_scale;
  cuda::UpdateDeviceArgs device;
};
DecidedUpdate Decided(const ExecutionContext& context, const UpdateDecision* decision,
                      double gradient_scale, int64_t elements);

}  // namespace sluice::ops
