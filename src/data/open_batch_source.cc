#include "data/open_batch_source.h"

#include <utility>

#include "core/error.h"
#include "core/status.h"
#include "data/token_shard_source.h"

namespace sluice {
namespace {

// How a source is opened: for training with its seed, or for evaluation.
struct Purpose {
  bool evaluation;
  uint64_t seed;
};

absl::StatusOr<std::unique_ptr<BatchSource>> Open(const RunConfig& config, const std::string& path,
                                                  const Purpose& purpose) {
  const DataConfig& data = config.data;
  if (data.source == "shards") {
    return TokenShardSource::Open(path,
                                  {.sequence_length = data.sequence_length,
                                   .packing = data.packing,
                                   .attention_across_documents = data.attention_across_documents,
                                   .objective = ObjectiveOf(config.model),
                                   .mlm_probability = data.mlm_probability,
                                   .mlm_mask_share = data.mlm_mask_share,
                                   .mlm_random_share = data.mlm_random_share,
                                   .evaluation = purpose.evaluation,
                                   .seed = purpose.seed});
  }
  return UsageError("unknown data.source", data.source, "known: shards");
}

}  // namespace

absl::StatusOr<std::unique_ptr<BatchSource>> OpenTrainingSource(const RunConfig& config) {
  return Open(config, config.data.train, {.evaluation = false, .seed = config.training.seed});
}

absl::StatusOr<std::vector<std::unique_ptr<BatchSource>>> OpenValidationSources(
    const RunConfig& config) {
  std::vector<std::unique_ptr<BatchSource>> sources;
  for (const std::string& path : config.data.validation) {
    ASSIGN_OR_RETURN(std::unique_ptr<BatchSource> source, OpenEvaluationSource(config, path));
    sources.push_back(std::move(source));
  }
  return sources;
}

absl::StatusOr<std::unique_ptr<BatchSource>> OpenEvaluationSource(const RunConfig& config,
                                                                  const std::string& path) {
  return Open(config, path, {.evaluation = true, .seed = config.training.seed});
}

}  // namespace sluice
