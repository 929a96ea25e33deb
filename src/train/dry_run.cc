#include "train/dry_run.h"

#include <cstdio>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/integer_math.h"
#include "model/operation_count.h"

namespace sluice {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

// What this process holds now: code, libraries and MPI's buffers, before the arena is touched.
int64_t ResidentBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    int64_t kib = 0;
    if (absl::StartsWith(line, "VmRSS:") && std::sscanf(line.c_str(), "VmRSS: %ld", &kib) == 1)
      return kib * 1024;
  }
  return 0;
}

// Generated code, its library's scratch memory, thread stacks: grows with the number of shapes, not
// with the model.
constexpr int64_t kLibraryBytes = int64_t{48} << 20;

std::string ParameterTable(const Engine& engine) {
  const OptimizerConfig& optimizer = engine.config().optimizer;
  std::string text =
      absl::StrFormat("%-66s %-16s %14s  %s\n", "parameter", "shape", "elements", "decay");
  for (const Parameter& parameter : engine.parameters().parameters()) {
    absl::StrAppendFormat(&text, "%-66s %-16s %14d  %s\n", parameter.name,
                          parameter.shape.ToString(), parameter.elements(),
                          Decays(optimizer, parameter.name) ? "yes" : "no");
  }
  absl::StrAppendFormat(&text, "%-66s %-16s %14d\n", "all", "",
                        engine.parameters().parameter_count());
  return text;
}

std::string MemoryTable(const Engine& engine, const DryRunInput& input) {
  std::string text = "memory a rank (MiB)\n";
  auto line = [&](absl::string_view name, int64_t bytes) {
    absl::StrAppendFormat(&text, "  %-34s %12.1f\n", name, static_cast<double>(bytes) / kMiB);
  };
  for (int purpose = 0; purpose < kMemoryPurposes; ++purpose) {
    line(MemoryPurposeName(static_cast<MemoryPurpose>(purpose)),
         engine.arena().bytes(static_cast<MemoryPurpose>(purpose)));
  }
  line("data loader", input.data_bytes);
  line("program and libraries", ResidentBytes() + kLibraryBytes);
  line("sum", PlannedResidentBytes(engine, input));
  return text;
}

std::string CommunicationPlan(const Engine& engine, const DryRunInput& input) {
  const int64_t bytes = engine.parameters().flat_elements() * 4;
  if (input.world_size == 1) return "communication: one rank, none\n";
  const int64_t bucket = engine.config().runtime.gradient_bucket_bytes;
  return absl::StrFormat(
      "communication an update: all-reduce of %.1f MiB of fp32 gradients over %d ranks in %d "
      "buckets of at most %.1f MiB, "
      "started as backward completes them; then one of 64 bytes for losses and counts\n",
      static_cast<double>(bytes) / kMiB, input.world_size, CeilDiv(bytes, bucket),
      static_cast<double>(bucket) / kMiB);
}

}  // namespace

int64_t PlannedResidentBytes(const Engine& engine, const DryRunInput& input) {
  return engine.arena().bytes() + input.data_bytes + ResidentBytes() + kLibraryBytes;
}

std::string DescribePlan(const Engine& engine, const DryRunInput& input) {
  const RunConfig& config = engine.config();
  const int64_t T = config.data.sequence_length, G = config.training.global_batch_size;
  const OperationsPerToken operations =
      CountOperations(config.model, T, ExpectedTargetShare(config));
  std::string text = ParameterTable(engine);
  absl::StrAppend(&text, "\n", MemoryTable(engine, input), "\n", CommunicationPlan(engine, input));
  absl::StrAppendFormat(
      &text,
      "batch: %d sequences of %d tokens an update = %d ranks x %d micro-batches x %d sequences; "
      "%d threads a rank\n",
      G, T, input.world_size, config.training.gradient_accumulation_steps,
      engine.options().max_batch, input.threads);
  absl::StrAppendFormat(
      &text,
      "operations a token: forward %.3e (projections %.3e, attention %.3e, gates %.3e, head %.3e), "
      "forward and backward %.3e; an update %.3e\n",
      operations.forward(), operations.projections, operations.attention, operations.gates,
      operations.head, operations.training(), operations.training() * static_cast<double>(G * T));
  absl::StrAppendFormat(&text, "tokens: %d updates = %.3e tokens", config.training.steps,
                        static_cast<double>(config.training.steps * G * T));
  if (input.train_sequences > 0) {
    absl::StrAppendFormat(
        &text, " = %.2f epochs of %d sequences",
        static_cast<double>(config.training.steps * G) / static_cast<double>(input.train_sequences),
        input.train_sequences);
  }
  return text + "\n";
}

}  // namespace sluice
