// What telemetry costs: looks at gates, attention, activations and norms of training steps on
// random tokens, each timed by itself, since a look is too small a part of a step for the
// difference of two steps to show it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "train/step_benchmark.h"

namespace sluice {

struct TelemetryCost {
  std::string name;   // gates, attention, activations or norms
  double look_s = 0;  // median: what a step with a look takes longer
  int64_t every = 0;  // updates from one look to the next, of the configuration; 0: never
  // Of a step that takes step_s without looks.
  double share(double step_s) const {
    return every == 0 ? 0 : look_s / static_cast<double>(every) / step_s;
  }
};

struct TelemetryBenchmark {
  std::string device;
  double step_s = 0;                 // median, without a look
  int64_t planned_bytes = 0;         // of all telemetry here
  std::vector<TelemetryCost> costs;  // gates only of a model that has some

  double share() const;  // of all
};

// options.steps looks of each kind. On a CPU a look is what is spent in it; on a GPU, for gates and
// attention, how much longer forward and backward take.
absl::StatusOr<TelemetryBenchmark> BenchmarkTelemetry(const StepBenchmarkOptions& options);

}  // namespace sluice
