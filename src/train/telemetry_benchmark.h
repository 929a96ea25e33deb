// What looking at gates and attention costs, as a share of training at the configuration's
// intervals.
//
//   TelemetryBenchmark telemetry(config, batch, *engine);     before the engine's Allocate
//   … Allocate …
//   ASSIGN_OR_RETURN(const TelemetryCost cost, telemetry.Measure(batch_of_tokens, /*looks=*/5));
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "telemetry/attention_telemetry.h"
#include "telemetry/gate_telemetry.h"
#include "train/engine.h"

namespace sluice {

struct TelemetryCost {
  // Median seconds of a look, with what goes before and behind it; 0 where it is off. On a CPU what
  // is spent in the observers, on a GPU how much longer forward and backward take.
  double gates_s = 0, attention_s = 0;
  // Steps from one look to the next.
  int64_t gates_every = 0, attention_every = 0;

  // A step's part of all looks.
  double seconds_a_step() const;
};

class TelemetryBenchmark {
 public:
  // Of batches of `sequences`, which are the whole global batch.
  TelemetryBenchmark(const RunConfig& config, int64_t sequences, Engine& engine);

  absl::StatusOr<TelemetryCost> Measure(const Batch& batch, int looks);

 private:
  // Median over `looks` of what `observer` costs, with `begin` and `end` around its pass.
  absl::StatusOr<double> Median(const Batch& batch, int looks, Observer& observer,
                                const std::function<absl::Status()>& begin,
                                const std::function<absl::Status()>& end);
  absl::StatusOr<double> TimePass(const Batch& batch, Observer* observer);

  const RunConfig config_;
  Engine& engine_;
  GateTelemetry gates_;
  AttentionTelemetry attention_;
};

}  // namespace sluice
