#include "train/step_benchmark.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/philox.h"
#include "core/status.h"
#include "model/operation_count.h"
#include "train/dry_run.h"
#include "train/engine.h"
#include "train/matmul_rate.h"

namespace sluice {
namespace {

absl::Status OneStep(Engine& engine, const Batch& batch, LossSums& sums) {
  RETURN_IF_ERROR(engine.ForwardBackward(batch, {.train = true, .seed = 1}));
  RETURN_IF_ERROR(engine.Prefetch(batch));  // as the trainer does with the next one
  const double scale = 1 / static_cast<double>(batch.targets.size());
  ASSIGN_OR_RETURN(const UpdateOutcome outcome, engine.ClipAndUpdate(1e-4, scale));
  sums = outcome.losses.language_model;
  return absl::OkStatus();
}

}  // namespace

Batch RandomTokens(const StepBenchmarkOptions& options) {
  const PhiloxKey key = MakePhiloxKey(options.config.training.seed, RandomPurpose::kSampling, 0);
  const auto V = static_cast<uint32_t>(options.config.model.vocab_size);
  const bool causal = ObjectiveOf(options.config.model) == Objective::kCausal;
  const double p = options.config.data.mlm_probability;
  Batch batch;
  batch.B = options.batch;
  batch.T = options.length;
  for (int64_t b = 0; b < batch.B; ++b) {
    batch.sample_index.push_back(b);
    const auto wanted = std::max<int64_t>(1, std::llround(p * static_cast<double>(batch.T)));
    int64_t taken = 0;
    for (int64_t t = 0; t < batch.T; ++t) {
      const auto words = Philox(key, PhiloxCounter(t, b));
      const auto token = static_cast<int32_t>(words[0] % V);
      const auto place = static_cast<int32_t>(b * batch.T + t);
      batch.tokens.push_back(token);
      if (causal && t > 0) {
        batch.target_positions.push_back(place - 1);
        batch.targets.push_back(token);
      }
      // Selection sampling: exactly `wanted` of T, each set of places equally likely.
      if (causal || UniformFromWord(words[1]) * static_cast<double>(batch.T - t) >=
                        static_cast<double>(wanted - taken))
        continue;
      ++taken;
      batch.target_positions.push_back(place);
      batch.targets.push_back(static_cast<int32_t>(words[2] % V));
    }
  }
  return batch;
}

int64_t PeakResidentBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

absl::StatusOr<StepBenchmark> BenchmarkStep(const StepBenchmarkOptions& options) {
  ASSIGN_OR_RETURN(const DType dtype, ParsePrecision(options.config.training.precision));
  StepBenchmark result;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                   Engine::Create(options.config,
                                  {.dtype = dtype,
                                   .max_batch = options.batch,
                                   .length = options.length,
                                   .train = true,
                                   .device = options.config.runtime.device,
                                   .attention_kernel = options.config.runtime.attention_kernel}));
  result.device = engine->device().Description();
  result.planned_bytes = PlannedResidentBytes(*engine, {});
  RETURN_IF_ERROR(engine->Allocate());
  const Batch batch = RandomTokens(options);
  const int64_t N = batch.B * batch.T;
  const ModelConfig& model = options.config.model;
  const auto matmul_gflops = [&] {
    return MeasureMatmulGflops(engine->device(), dtype,
                               {N, model.hidden_size, model.intermediate_size}, 8);
  };
  ASSIGN_OR_RETURN(const double before, matmul_gflops());

  OpTimes op_times;
  LossSums sums;
  std::vector<double> seconds;
  for (int64_t step = 0; step < options.warmup + options.steps; ++step) {
    if (step == options.warmup) engine->context().set_op_times(&op_times);
    const auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(OneStep(*engine, batch, sums));
    const double elapsed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (step == 0) result.first_step_s = elapsed;
    if (step >= options.warmup) seconds.push_back(elapsed);
  }
  ASSIGN_OR_RETURN(const double after, matmul_gflops());
  engine->context().set_op_times(nullptr);
  result.matmul_gflops = std::max(before, after);

  std::sort(seconds.begin(), seconds.end());
  result.median_s = seconds[seconds.size() / 2];
  result.min_s = seconds.front();
  result.max_s = seconds.back();
  result.tokens_per_s = static_cast<double>(N) / result.median_s;
  const double share = static_cast<double>(sums.targets) / static_cast<double>(N);
  const double operations =
      CountOperations(model, options.length, share).training() * static_cast<double>(N);
  result.matmul_share = operations / result.median_s / (result.matmul_gflops * 1e9);
  result.loss = sums.loss / static_cast<double>(sums.targets);
  result.parameters = engine->parameters().parameter_count();
  result.peak_resident_bytes = PeakResidentBytes();
  result.ops = op_times.entries();
  for (OpTimes::Entry& entry : result.ops) {
    entry.seconds /= static_cast<double>(options.steps);
    entry.calls /= options.steps;
  }
  std::sort(result.ops.begin(), result.ops.end(),
            [](const OpTimes::Entry& a, const OpTimes::Entry& b) { return a.seconds > b.seconds; });
  return result;
}

}  // namespace sluice
