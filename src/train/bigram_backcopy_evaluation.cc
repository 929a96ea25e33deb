#include "train/bigram_backcopy_evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {
namespace {

using NamedValue = std::pair<std::string, double>;

absl::StatusOr<std::vector<HostTensor>> ReadOutputWeights(Engine& engine) {
  const Architecture& architecture = engine.model().architecture();
  const std::vector<Parameter>& parameters = engine.parameters().parameters();
  std::vector<HostTensor> weights;
  for (int layer = 0; layer < engine.config().model.num_hidden_layers; ++layer) {
    const std::string name = architecture.layer_names(layer).attention_output + ".weight";
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter& p) { return p.name == name; });
    CHECK(found != parameters.end()) << name;
    ASSIGN_OR_RETURN(HostTensor weight,
                     HostTensor::Read(engine.device(), engine.parameters().Working(static_cast<int>(
                                                           found - parameters.begin()))));
    weights.push_back(std::move(weight));
  }
  return weights;
}

// A pass over this rank's batches.
struct Pass {
  int64_t batch_size;
  Observer* observer;
  BigramBackcopyObserver* metrics;  // null: not told of batches
  BigramBackcopyRisks& risks;
};

absl::Status RunOwnBatches(Engine& engine, BigramBackcopySource& source,
                           const Communicator& communicator, const Pass& pass) {
  const int64_t sequences = source.sequences_per_epoch();
  Batch batch;
  std::vector<int32_t> positions;
  for (int64_t first = communicator.rank() * pass.batch_size; first < sequences;
       first += communicator.world_size() * pass.batch_size) {
    const int64_t count = std::min(pass.batch_size, sequences - first);
    RETURN_IF_ERROR(source.Fill(first, count, &batch));
    positions.resize(static_cast<size_t>(count * batch.T));
    std::iota(positions.begin(), positions.end(), 0);
    if (pass.metrics != nullptr) pass.metrics->BeginBatch(batch, first);
    ASSIGN_OR_RETURN(const HostTensor logits, engine.Predict(batch, positions, pass.observer));
    pass.risks.Add(batch, first, logits.view());
  }
  return absl::OkStatus();
}

// Perplexing numbers are no figures: a model that diverged says so.
absl::Status CheckFinite(const BigramBackcopyRiskValues& risks, const std::string& data) {
  if (std::isfinite(risks.backcopy) && std::isfinite(risks.bigram)) return absl::OkStatus();
  return DivergedError("a risk is not finite", data,
                       absl::StrCat("backcopy ", risks.backcopy, ", bigram ", risks.bigram));
}

void AppendRisks(const std::string& prefix, const BigramBackcopyRiskValues& risks,
                 std::vector<NamedValue>& values) {
  values.emplace_back(prefix + "backcopy_risk", risks.backcopy);
  values.emplace_back(prefix + "bigram_risk", risks.bigram);
  values.emplace_back(prefix + "bigram_risk_guo", risks.bigram_guo);
  values.emplace_back(prefix + "bigram_cross_entropy_guo", risks.bigram_cross_entropy_guo);
}

}  // namespace

BigramBackcopyDue DueAt(const TelemetryConfig& config, int64_t step, int64_t last_step) {
  const int64_t every = config.bigram_backcopy_every;
  const int64_t early = config.bigram_backcopy_every_early;
  if (every == 0 && early == 0) return {};
  const bool due = step == last_step || (every > 0 && step % every == 0);
  const bool due_early =
      early > 0 && step <= config.bigram_backcopy_early_steps && step % early == 0;
  return {.record = due || due_early, .ablations = due};
}

absl::StatusOr<BigramBackcopyMetrics> EvaluateBigramBackcopy(
    Engine& engine, BigramBackcopySource& source, Communicator& communicator,
    const BigramBackcopyEvaluation& options) {
  const auto start = std::chrono::steady_clock::now();
  const Architecture& architecture = engine.model().architecture();
  if (!architecture.causal || architecture.projection_biases) {
    return UsageError("the metrics are those of decoders without biases", architecture.name);
  }
  const int64_t sequences = source.sequences_per_epoch(), T = source.sequence_length();
  CHECK_GT(sequences, 0) << "an endless source";
  const int64_t batch_size = std::min(
      {options.batch_size, engine.options().max_batch, engine.model().max_predictions() / T});
  if (batch_size < 1) {
    return UsageError(
        "a sequence's logits are more than are computed at a time, which the metrics "
        "of this task need",
        "data.sequence_length, model.vocab_size",
        absl::StrCat(T, " positions, at most ", engine.model().max_predictions()));
  }
  const absl::StatusOr<std::vector<HostTensor>> weights = ReadOutputWeights(engine);
  RETURN_IF_ERROR(communicator.Agree(weights.status()));
  std::vector<TensorView> views;
  for (const HostTensor& weight : *weights) views.push_back(weight.view());

  BigramBackcopyObserver observer(source.task(), sequences, views);
  BigramBackcopyMetrics metrics;
  const auto run = [&](Observer* watch,
                       BigramBackcopyObserver* told) -> absl::StatusOr<BigramBackcopyRiskValues> {
    BigramBackcopyRisks risks(source.task(), sequences);
    RETURN_IF_ERROR(communicator.Agree(
        RunOwnBatches(engine, source, communicator, {batch_size, watch, told, risks})));
    RETURN_IF_ERROR(risks.Merge(communicator));
    return risks.Values();
  };
  ASSIGN_OR_RETURN(metrics.risks, run(&observer, &observer));
  RETURN_IF_ERROR(observer.Merge(communicator));
  RETURN_IF_ERROR(CheckFinite(metrics.risks, source.name()));
  metrics.layers = observer.Layers();
  if (options.ablations) {
    BigramBackcopyAblation no_attention(BigramBackcopyAblation::Part::kAttention);
    BigramBackcopyAblation no_feed_forward(BigramBackcopyAblation::Part::kFeedForward);
    ASSIGN_OR_RETURN(metrics.without_attention, run(&no_attention, nullptr));
    ASSIGN_OR_RETURN(metrics.without_feed_forward, run(&no_feed_forward, nullptr));
  }
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

std::vector<NamedValue> NamedValues(const BigramBackcopyMetrics& metrics) {
  std::vector<NamedValue> values;
  AppendRisks("", metrics.risks, values);
  if (metrics.without_attention.has_value()) {
    AppendRisks("no_attention.", *metrics.without_attention, values);
  }
  if (metrics.without_feed_forward.has_value()) {
    AppendRisks("no_feed_forward.", *metrics.without_feed_forward, values);
  }
  for (size_t layer = 0; layer < metrics.layers.size(); ++layer) {
    for (const auto& [name, value] : NamedValues(metrics.layers[layer])) {
      if (std::isnan(value)) continue;
      values.emplace_back(absl::StrCat("layer_", layer, ".", name), value);
    }
  }
  return values;
}

}  // namespace sluice
