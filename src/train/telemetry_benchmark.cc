#include "train/telemetry_benchmark.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "comm/single_communicator.h"
#include "core/status.h"
#include "telemetry/attention_telemetry.h"
#include "telemetry/gate_telemetry.h"
#include "train/engine.h"
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

// Adds up the time that another observer takes.
class TimedObserver : public Observer {
 public:
  explicit TimedObserver(Observer& timed) : timed_(timed) {}
  double seconds() const { return seconds_; }

  bool Wants(absl::string_view tensor) const override { return timed_.Wants(tensor); }
  absl::StatusOr<bool> ObserveInPlace(ExecutionContext& context, int layer,
                                      absl::string_view tensor, const TensorView& view) override {
    return timed_.ObserveInPlace(context, layer, tensor, view);
  }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
    const Stopwatch look;
    timed_.Observe(layer, tensor, view);
    seconds_ += look.Seconds();
  }
  AttentionLook attention_look() const override { return timed_.attention_look(); }
  int64_t attention_sequences(int64_t B) const override { return timed_.attention_sequences(B); }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override {
    const Stopwatch look;
    RETURN_IF_ERROR(timed_.ObserveAttention(layer, attention));
    seconds_ += look.Seconds();
    return absl::OkStatus();
  }

 private:
  Observer& timed_;
  double seconds_ = 0;
};

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

// Plain steps, and looks at activations and norms.
struct UpdateTimes {
  std::vector<double> steps, updates, activations, norms;
};

// Activations are looked at in even updates, norms in those that 3 divides.
constexpr int64_t kPlain = 1, kActivations = 2, kNorms = 3;

absl::StatusOr<UpdateTimes> TimeUpdates(const StepBenchmarkOptions& options, Engine& engine,
                                        UpdateTelemetry& telemetry, const Batch& batch) {
  UpdateTimes all;
  for (int64_t i = 0; i < options.warmup + options.steps; ++i) {
    for (const int64_t update : {kPlain, kActivations, kNorms}) {
      telemetry.BeginUpdate(update);
      ASSIGN_OR_RETURN(const StepTimes times, TimeStep(engine, telemetry, batch));
      if (i < options.warmup) continue;
      if (update == kPlain) {
        all.steps.push_back(times.step_s);
        all.updates.push_back(times.update_s);
      } else if (update == kActivations) {
        all.activations.push_back(times.observed_s + times.collected_s);
      } else {
        all.norms.push_back(times.update_s + times.collected_s);
      }
    }
  }
  return all;
}

absl::StatusOr<double> TimePass(Engine& engine, const Batch& batch, Observer* observer) {
  const Stopwatch pass;
  RETURN_IF_ERROR(engine.ForwardBackward(batch, {.train = true, .seed = 1, .observer = observer}));
  RETURN_IF_ERROR(engine.ReadLosses().status());  // waits for a GPU
  return pass.Seconds();
}

// What is looked at in forward and backward, with what goes before and behind them.
struct Look {
  Observer& observer;
  std::function<absl::Status()> begin, end;
};

absl::StatusOr<double> TimeLooks(Engine& engine, const Batch& batch, int64_t looks,
                                 const Look& look) {
  std::vector<double> inside, plain, around;
  for (int64_t i = 0; i < looks; ++i) {
    const Stopwatch before;
    RETURN_IF_ERROR(look.begin());
    const double before_s = before.Seconds();
    TimedObserver timed(look.observer);
    ASSIGN_OR_RETURN(const double pass_s, TimePass(engine, batch, &timed));
    const Stopwatch behind;
    RETURN_IF_ERROR(look.end());
    around.push_back(before_s + behind.Seconds());
    if (!engine.device().is_cuda()) {
      inside.push_back(timed.seconds());
      continue;
    }
    inside.push_back(pass_s);
    ASSIGN_OR_RETURN(const double plain_s, TimePass(engine, batch, nullptr));
    plain.push_back(plain_s);
  }
  return Median(around) + std::max(0.0, Median(inside) - (plain.empty() ? 0 : Median(plain)));
}

TokenizerIdentity TokenizerOf(const RunConfig& config) {
  TokenizerIdentity tokenizer;
  tokenizer.vocabulary_size = config.model.vocab_size;
  return tokenizer;
}

// The configuration with looks at everything, at steps that the loops here count.
RunConfig LookingAtAll(const StepBenchmarkOptions& options) {
  RunConfig config = options.config;
  config.training.global_batch_size = options.batch;
  config.data.sequence_length = options.length;
  config.telemetry.gate_statistics_every = 1;
  config.telemetry.attention_statistics_every = 1;
  config.telemetry.activation_statistics_every = kActivations;
  config.telemetry.norm_statistics_every = kNorms;
  return config;
}

}  // namespace

double TelemetryBenchmark::share() const {
  double sum = 0;
  for (const TelemetryCost& cost : costs) sum += cost.share(step_s);
  return sum;
}

absl::StatusOr<TelemetryBenchmark> BenchmarkTelemetry(const StepBenchmarkOptions& options) {
  const RunConfig config = LookingAtAll(options);
  const TelemetryConfig& intervals = options.config.telemetry;
  ASSIGN_OR_RETURN(const DType dtype, ParsePrecision(config.training.precision));
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                   Engine::Create(config, {.dtype = dtype,
                                           .max_batch = options.batch,
                                           .length = options.length,
                                           .train = true,
                                           .device = config.runtime.device,
                                           .attention_kernel = config.runtime.attention_kernel}));
  SingleCommunicator alone;
  const int64_t model_bytes = engine->arena().bytes();
  UpdateTelemetry updates(config, *engine, alone);
  GateTelemetry gates(config, TokenizerOf(config), nullptr);
  gates.Plan(engine->arena(), engine->device(), options.batch, options.length);
  AttentionTelemetry attention(config, TokenizerOf(config));
  TelemetryBenchmark result = {.device = engine->device().Description(),
                               .planned_bytes = engine->arena().bytes() - model_bytes,
                               .costs = {}};
  RETURN_IF_ERROR(engine->Allocate());
  RETURN_IF_ERROR(updates.Start());
  const Batch batch = RandomTokens(options);

  ASSIGN_OR_RETURN(const UpdateTimes times, TimeUpdates(options, *engine, updates, batch));
  result.step_s = Median(times.steps);
  if (gates.enabled()) {
    RETURN_IF_ERROR(gates.Start());
    ASSIGN_OR_RETURN(const double look_s,
                     TimeLooks(*engine, batch, options.steps,
                               {.observer = gates,
                                .begin = [&] { return gates.BeginBatch(batch); },
                                .end = [&] { return gates.Merge(alone); }}));
    result.costs.push_back(
        {.name = "gates", .look_s = look_s, .every = intervals.gate_statistics_every});
  }
  const auto begin_attention = [&] {
    attention.BeginUpdate();
    attention.BeginBatch(batch, 0);
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(const double attention_s,
                   TimeLooks(*engine, batch, options.steps,
                             {.observer = attention, .begin = begin_attention, .end = [&] {
                                return attention.EndUpdate(alone);
                              }}));
  result.costs.push_back(
      {.name = "attention", .look_s = attention_s, .every = intervals.attention_statistics_every});
  result.costs.push_back({.name = "activations",
                          .look_s = Median(times.activations),
                          .every = intervals.activation_statistics_every});
  result.costs.push_back({.name = "norms",
                          .look_s = Median(times.norms) - Median(times.updates),
                          .every = intervals.norm_statistics_every});
  return result;
}

}  // namespace sluice
