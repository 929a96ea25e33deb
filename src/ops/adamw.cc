#include "ops/adamw.h"

#include "core/check.h"
#include "core/status.h"
#include "ops/dispatch.h"
#include "ops/update_decision.h"

namespace sluice::ops {

absl::Status Run(ExecutionContext& context, const AdamW& call) {
  const int64_t n = call.master.elements();
  CHECK_EQ(call.gradient.elements(), n);
  CHECK_EQ(call.m.elements(), n);
  CHECK_EQ(call.v.elements(), n);
  CHECK_EQ(call.working.elements(), n);
  CHECK_GE(call.t, 1);
  const DecidedUpdate decided = Decided(context, call.decision, call.gradient_scale, n);
  if (decided.skip) return absl::OkStatus();
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
            .gradient_scale = decided.gradient_scale,
            .learning_rate = call.learning_rate,
            .beta1 = call.beta1,
            .beta2 = call.beta2,
            .eps = call.eps,
            .t = call.t};
      },
      Kernels{reference::AdamW, [](const auto& args) { return cpu::AdamW(args); },
              [&](const auto& args, cuda::Stream stream) {
                return cuda::AdamW(args, decided.device, stream);
              }});
}

}  // namespace sluice::ops
