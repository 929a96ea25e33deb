// Times training steps on random tokens: forward, loss, backward, clipping, AdamW. No data, no
// files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/batch.h"
#include "ops/execution_context.h"

namespace sluice {

struct StepBenchmarkOptions {
  RunConfig config;  // model, optimizer, training.precision, data.mlm_probability, runtime.device;
                     // model.vocab_size must be set
  int64_t batch = 16;
  int64_t length = 128;
  int64_t warmup = 2;
  int64_t steps = 8;
};

struct StepBenchmark {
  std::string device;
  double tokens_per_s = 0;  // of the median step
  double median_s = 0, min_s = 0, max_s = 0;
  double first_step_s = 0;   // with making the library's primitives
  double matmul_gflops = 0;  // measured in the same process, before and after; the larger
  double matmul_share = 0;   // operations of the model's matrix products / time / that rate
  double loss = 0;           // of the last step, nats a target
  int64_t parameters = 0;
  int64_t planned_bytes = 0;  // what --dry-run would say for one rank
  int64_t peak_resident_bytes = 0;
  std::vector<OpTimes::Entry> ops;  // seconds and calls a step, the most expensive first
};

absl::StatusOr<StepBenchmark> BenchmarkStep(const StepBenchmarkOptions& options);

// Masked: in every row the same number of targets, at random places; causal: every token but a
// row's first is the target of the one before it.
Batch RandomTokens(const StepBenchmarkOptions& options);

// Peak resident bytes of this process so far.
int64_t PeakResidentBytes();

}  // namespace sluice
