#include "ops/update_decision.h"

#include <cmath>

#include "core/check.h"
#include "core/status.h"
#include "kernels/api/elementwise.h"
#include "ops/elementwise.h"

namespace sluice::ops {
namespace {

double HostSumOfSquares(const TensorView& x) {
  return x.dtype() == DType::kFloat64 ? reference::SumOfSquares(x.as<double>(), x.elements())
                                      : cpu::SumOfSquares(x.as<float>(), x.elements());
}

}  // namespace

absl::Status Run(ExecutionContext& context, const UpdateDecisionCall& call) {
  const OpTimer timer(context, "sum_of_squares");
  CHECK(call.gradient.contiguous());
  if (!context.on_cuda()) {
    const double norm = std::sqrt(HostSumOfSquares(call.gradient)) * call.gradient_scale;
    *call.decision = DecideUpdate(norm, *call.loss, call.max_norm);
    return absl::OkStatus();
  }
  double* sum = &call.decision->gradient_norm;
  RETURN_IF_ERROR(Run(context, SumOfSquaresCall{.x = call.gradient, .sum = sum}));
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
