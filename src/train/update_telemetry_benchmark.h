// What telemetry costs: looks at activations and norms of training steps on random tokens, each
// timed by itself, since a look is too small a part of a step for the difference of two steps to
// show it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "train/step_benchmark.h"

namespace sluice {

struct UpdateTelemetryCost {
  double look_s = 0;  // median: what a step with a look takes longer
  int64_t every = 0;  // updates, of the configuration; 0: never
  double share(double step_s) const {
    return every == 0 ? 0 : look_s / static_cast<double>(every) / step_s;
  }
};

struct UpdateTelemetryBenchmark {
  std::string device;
  double step_s = 0;          // median, without a look
  int64_t planned_bytes = 0;  // of all telemetry here
  UpdateTelemetryCost activations, norms;
};

// options.steps looks of each kind.
absl::StatusOr<UpdateTelemetryBenchmark> BenchmarkUpdateTelemetry(
    const StepBenchmarkOptions& options);

}  // namespace sluice
