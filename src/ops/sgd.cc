#include "ops/sgd.h"

#include "core/check.h"
#include "core/status.h"
#include "ops/dispatch.h"
#include "ops/update_decision.h"

namespace sluice::ops {

absl::Status Run(ExecutionContext& context, const Sgd& call) {
  const int64_t n = call.master.elements();
  CHECK_EQ(call.gradient.elements(), n);
  CHECK_EQ(call.momentum_buffer.elements(), n);
  CHECK_EQ(call.working.elements(), n);
  const DecidedUpdate decided = Decided(context, call.decision, call.gradient_scale, n);
  if (decided.skip) return absl::OkStatus();
  return Dispatch(
      context, "sgd", call.working.dtype(),
      [&]<typename T>() {
        return SgdArgs<T>{
            .master = call.master.as<Accumulator<T>>(),
            .gradient = call.gradient.as<Accumulator<T>>(),
            .momentum_buffer = call.momentum_buffer.as<Accumulator<T>>(),
            .working = call.working.data() == call.master.data() ? nullptr : call.working.as<T>(),
            .segments = call.segments.data(),
            .segment_count = static_cast<int64_t>(call.segments.size()),
            .gradient_scale = decided.gradient_scale,
            .learning_rate = call.learning_rate,
            .momentum = call.momentum};
      },
      Kernels{reference::Sgd, [](const auto& args) { return cpu::Sgd(args); },
              [&](const auto& args, cuda::Stream stream) {
                return cuda::Sgd(args, decided.device, stream);
              }});
}

}  // namespace sluice::ops
