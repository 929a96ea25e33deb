#include "ops/adamw.h"

#include <cmath>

#include "core/status.h"
#include "kernels/api/elementwise.h"
#include "ops/dispatch.h"

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
  RETURN_IF_ERROR(cuda::SumOfSquares<float>(
      {.x = call.gradient.as<float>(),
       .count = call.gradient.elements(),
       .sum = sum,
       .workspace = context.workspace(cuda::SumOfSquaresWorkspaceBytes())},
      context.stream()));
  return cuda::DecideUpdate({.sum_of_squares = sum,
                             .loss = call.loss,
                             .gradient_scale = call.gradient_scale,
                             .max_norm = call.max_norm,
                             .decision = call.decision},
                            context.stream());
}

absl::Status Run(ExecutionContext& context, const AdamW& call) {
  const int64_t n = call.master.elements();
  CHECK_EQ(call.gradient.elements(), n);
  CHECK_EQ(call.m.elements(), n);
  CHECK_EQ(call.v.elements(), n);
  CHECK_EQ(call.working.elements(), n);
  CHECK_GE(call.t, 1);
  double gradient_scale = call.gradient_scale;
  cuda::AdamWDeviceArgs decided = {.elements = n, .gradient_factor = nullptr, .skip = nullptr};
  if (call.decision != nullptr && context.on_cuda()) {
    decided.gradient_factor = &call.decision->factor;
    decided.skip = &call.decision->skip;
  } else if (call.decision != nullptr) {
    if (call.decision->skip != 0) return absl::OkStatus();
    gradient_scale *= call.decision->clipping;
  }
  return Dispatch(
      context, "adamw", call.working.dtype(),
      [&]<typename T>() {
        return AdamWArgs<T>{
            .master = call.master.as<Accumulator<T>>(),
            .gradient = call.gradient.as<Accumulator<T>>(),
            .m = call.m.as<Accumulator<T>>(),
            .v = call.v.as<Accumulator<T>>(),
            .working = call.working.data() == call.master.data() ? nullptr : call.working.as<T>(),
            .segments = call.segments.data(),
            .segment_count = static_cast<int64_t>(call.segments.size()),
            .gradient_scale = static_cast<float>(gradient_scale),
            .learning_rate = call.learning_rate,
            .beta1 = call.beta1,
            .beta2 = call.beta2,
            .eps = call.eps,
            .t = call.t};
      },
      Kernels{reference::AdamW, [](const auto& args) { return cpu::AdamW(args); },
              [&](const auto& args, cuda::Stream stream) {
                return cuda::AdamW(args, decided, stream);
              }});
}

void PlanAdamW(ExecutionContext& context) {
  if (context.on_cuda()) context.NeedWorkspace(cuda::SumOfSquaresWorkspaceBytes());
}

}  // namespace sluice::ops
