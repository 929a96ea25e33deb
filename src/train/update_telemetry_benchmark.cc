#include "train/update_telemetry_benchmark.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "comm/single_communicator.h"
#include "core/status.h"
#include "train/update_telemetry.h"

namespace sluice {
namespace {

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

double Median(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

// Of a step: all of it, what observing took in it, the update, and collecting.
struct StepTimes {
  double step_s, observed_s, update_s, collected_s;
};

absl::StatusOr<StepTimes> TimeStep(Engine& engine, UpdateTelemetry& telemetry, const Batch& batch) {
  const Stopwatch step;
  StepTimes times;
  OpTimes ops;
  Observer* const observer = telemetry.Watch(nullptr);
  // Ops are waited for on a GPU while they are timed: only where there is something to time.
  if (observer != nullptr) engine.context().set_op_times(&ops);
  RETURN_IF_ERROR(engine.ForwardBackward(batch, {.train = true, .seed = 1, .observer = observer}));
  engine.context().set_op_times(nullptr);
  times.observed_s = 0;
  for (const OpTimes::Entry& op : ops.entries()) {
    if (op.op == "row_moments") times.observed_s += op.seconds;
  }
  RETURN_IF_ERROR(engine.device().Synchronize());
  const Stopwatch update;
  const double scale = 1 / static_cast<double>(batch.targets.size());
  RETURN_IF_ERROR(engine.ClipAndUpdate(1e-4, scale, telemetry.norms()).status());
  times.update_s = update.Seconds();
  times.step_s = step.Seconds();
  const Stopwatch collecting;
  RETURN_IF_ERROR(telemetry.Collect(scale).status());
  times.collected_s = collecting.Seconds();
  return times;
}

}  // namespace

absl::StatusOr<UpdateTelemetryBenchmark> BenchmarkUpdateTelemetry(
    const StepBenchmarkOptions& options) {
  ASSIGN_OR_RETURN(const DType dtype, ParsePrecision(options.config.training.precision));
  RunConfig config = options.config;
  config.training.global_batch_size = options.batch;
  config.data.sequence_length = options.length;
  // Activations in even updates, norms in those that 3 divides.
  config.telemetry.activation_statistics_every = 2;
  config.telemetry.norm_statistics_every = 3;
  constexpr int64_t kPlain = 1, kActivations = 2, kNorms = 3;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                   Engine::Create(config, {.dtype = dtype,
                                           .max_batch = options.batch,
                                           .length = options.length,
                                           .train = true,
                                           .device = config.runtime.device,
                                           .attention_kernel = config.runtime.attention_kernel}));
  SingleCommunicator alone;
  const int64_t model_bytes = engine->arena().bytes();
  UpdateTelemetry telemetry(config, *engine, alone);
  RETURN_IF_ERROR(engine->Allocate());
  RETURN_IF_ERROR(telemetry.Start());
  const Batch batch = RandomTokens(options);
  std::vector<double> steps, updates, activations, norms;
  for (int64_t i = 0; i < options.warmup + options.steps; ++i) {
    for (const int64_t update : {kPlain, kActivations, kNorms}) {
      telemetry.BeginUpdate(update);
      ASSIGN_OR_RETURN(const StepTimes times, TimeStep(*engine, telemetry, batch));
      if (i < options.warmup) continue;
      if (update == kPlain) {
        steps.push_back(times.step_s);
        updates.push_back(times.update_s);
      } else if (update == kActivations) {
        activations.push_back(times.observed_s + times.collected_s);
      } else {
        norms.push_back(times.update_s + times.collected_s);
      }
    }
  }
  return UpdateTelemetryBenchmark{
      .device = engine->device().Description(),
      .step_s = Median(steps),
      .planned_bytes = engine->arena().bytes() - model_bytes,
      .activations = {.look_s = Median(activations),
                      .every = options.config.telemetry.activation_statistics_every},
      .norms = {.look_s = Median(norms) - Median(updates),
                .every = options.config.telemetry.norm_statistics_every}};
}

}  // namespace sluice
