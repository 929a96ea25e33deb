// The only way to look inside a model: telemetry implements Observer, and no model file knows
// telemetry.
#pragma once

#include "absl/strings/string_view.h"
#include "runtime/tensor.h"

namespace sluice {

class Observer {
 public:
  virtual ~Observer() = default;
  // Called in forward once per layer and named tensor, when the tensor is complete. The view is of
  // host memory (on a GPU a copy, for which the step waits) and dies with the call.
  //   "gate"  (N, H), or (N, H · D) with one gate a channel, accumulator dtype: gate values of
  //   gated
  //           attention; N = B·(R + T) rows, each sequence's R registers first
  virtual void Observe(int layer, absl::string_view tensor, const TensorView& view) = 0;
};

}  // namespace sluice
