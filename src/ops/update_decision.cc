#include "ops/update_decision.h"

#include <cmath>

#include "core/status.h"
#include "ops/elementwise.h"

namespace sluice::ops {

absl::Status Run(ExecutionContext& context, const UpdateDecisionCall& call) {
  double* sum = &call.decision->gradient_norm;
  RETURN_IF_ERROR(Run(context, SumOfSquaresCall{.x = call.gradient, .sum = sum}));
  if (!context.on_cuda()) {
    *call.decision = DecideUpdate(std::sqrt(*sum) * call.gradient_scale, *call.loss, call.max_norm);
    return absl::OkStatus();
  }
  return cuda::DecideUpdate({.sum_of_squares = sum,
                             .loss = call.loss,
                             .gradient_scale = call.gradient_scale,
                             .max_norm = call.max_norm,
                             .decision = call.decision},
                            context.stream());
}

void PlanUpdateDecision(ExecutionContext& context) { PlanSumOfSquares(context); }

DecidedUpdate Decided(const ExecutionContext& context, const UpdateDecision* decision,
                      double gradient_scale, int64_t elements) {
  DecidedUpdate decided = {
      .skip = false,
      .gradient_scale = static_cast<float>(gradient_scale),
      .device = {.elements = elements, .gradient_factor = nullptr, .skip = nullptr}};
  if (decision == nullptr) return decided;
  if (context.on_cuda()) {
    decided.device.gradient_factor = &decision->factor;
    decided.device.skip = &decision->skip;
  } else {
    decided.skip = decision->skip != 0;
    decided.gradient_scale = static_cast<float>(gradient_scale * decision->clipping);
  }
  return decided;
}

}  // namespace sluice::ops
