// The metrics of telemetry/bigram_backcopy_metrics.h of a model as it is, on the validation set of
// generated data.
//
//   ASSIGN_OR_RETURN(const auto metrics, EvaluateBigramBackcopy(engine, source, comm, options));
//   writer.Write("bigram_backcopy", Fields(metrics));
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "data/bigram_backcopy_source.h"
#include "telemetry/bigram_backcopy_metrics.h"
#include "train/engine.h"

namespace sluice {

struct BigramBackcopyMetrics {
  BigramBackcopyRiskValues risks;
  std::optional<BigramBackcopyRiskValues> without_attention, without_feed_forward;
  std::vector<BigramBackcopyLayer> layers;
  double seconds = 0;
};

// Whether a record is due after `step` of `last_step` updates, and with ablations.
struct BigramBackcopyDue {
  bool record = false, ablations = false;
};
BigramBackcopyDue DueAt(const TelemetryConfig& config, int64_t step, int64_t last_step);

struct BigramBackcopyEvaluation {
  int64_t batch_size = 32;  // sequences a pass, at most the engine's
  bool ablations = true;    // two more passes over the set
};

// All sequences of `source`, which is an evaluation set; batches are dealt to the ranks in turn.
// Collective; all ranks get the same result, to the bit whatever the ranks when batch_size is the
// same. UsageError for models whose projections have biases or that are no decoders.
absl::StatusOr<BigramBackcopyMetrics> EvaluateBigramBackcopy(
    Engine& engine, BigramBackcopySource& source, Communicator& communicator,
    const BigramBackcopyEvaluation& options);

// What a record holds: backcopy_risk …, no_attention.backcopy_risk …, layer_0.attention_to_start …;
// docs/formats/metrics.md. What there is not is left out.
std::vector<std::pair<std::string, double>> NamedValues(const BigramBackcopyMetrics& metrics);

}  // namespace sluice
