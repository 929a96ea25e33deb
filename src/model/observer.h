// The only way to look inside a model: telemetry implements Observer, and no model file knows
// telemetry.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "ops/execution_context.h"
#include "runtime/tensor.h"

namespace sluice {

class Observer {
 public:
  virtual ~Observer() = default;
  // Called in forward once per layer and named tensor, when the tensor is complete. The view is of
  // the context's device, where on a GPU it is complete in the stream's order, and dies with the
  // call: ops may read it, and HostTensor::Read, for which the step waits. What it returns ends the
  // pass when it is not OK.
  //   "gate"  (N, H), or (N, H · D) with one gate a channel, accumulator dtype: gate values of
  //   gated
  //           attention; N = B·(R + T) rows, each sequence's R registers first
  virtual absl::Status Observe(ExecutionContext& context, int layer, absl::string_view tensor,
                               const TensorView& view) = 0;
};

}  // namespace sluice
