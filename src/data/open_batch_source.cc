#include "data/open_batch_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"
#include "data/bigram_backcopy_source.h"
#include "data/nvidia_bert_inspection.h"
#include "data/nvidia_bert_source.h"
#include "data/token_shard_source.h"

namespace sluice {
namespace {

// How a source is opened: for training with its seed, or for evaluation.
struct Purpose {
  bool evaluation;
  uint64_t seed;
};

Purpose Evaluation(const RunConfig& config) {
  return {.evaluation = true, .seed = config.training.seed};
}

bool IsGenerated(const DataConfig& data) { return data.source == "bigram_backcopy"; }

// `path` is not read when the source is generated.
absl::StatusOr<std::unique_ptr<BatchSource>> Open(const RunConfig& config, const std::string& path,
                                                  const Purpose& purpose) {
  const DataConfig& data = config.data;
  if (data.source == "shards") {
    if (NamesNvidiaBert(path)) {
      return DataError("is of NVIDIA's BERT layout, not shards", path,
                       "set data.source to nvidia_bert");
    }
    return TokenShardSource::Open(path,
                                  {.sequence_length = data.sequence_length,
                                   .packing = data.packing,
                                   .row_start = data.row_start,
                                   .attention_across_documents = data.attention_across_documents,
                                   .objective = ObjectiveOf(config.model),
                                   .mlm_probability = data.mlm_probability,
                                   .mlm_mask_share = data.mlm_mask_share,
                                   .mlm_random_share = data.mlm_random_share,
                                   .evaluation = purpose.evaluation,
                                   .seed = purpose.seed});
  }
  if (data.source == "nvidia_bert") {
    return NvidiaBertSource::Open(path, {.sequence_length = data.sequence_length,
                                         .vocabulary_size = config.model.vocab_size,
                                         .segments = config.model.type_vocab_size,
                                         .next_sentence_labels = config.model.next_sentence_head,
                                         .evaluation = purpose.evaluation,
                                         .seed = purpose.seed});
  }
  if (data.source == "bigram_backcopy") {
    return BigramBackcopySource::Create(
        {.sequence_length = data.sequence_length,
         .seed = purpose.seed,
         .evaluation_sequences = purpose.evaluation ? data.validation_sequences : 0,
         .table = data.table,
         .triggers = data.triggers});
  }
  return UsageError("unknown data.source", data.source,
                    "known: shards, nvidia_bert, bigram_backcopy");
}

}  // namespace

absl::StatusOr<std::unique_ptr<BatchSource>> OpenTrainingSource(const RunConfig& config) {
  return Open(config, config.data.train, {.evaluation = false, .seed = config.training.seed});
}

absl::StatusOr<std::vector<std::unique_ptr<BatchSource>>> OpenValidationSources(
    const RunConfig& config) {
  std::vector<std::string> paths = config.data.validation;
  if (IsGenerated(config.data)) {
    paths.assign(config.data.validation_sequences > 0 ? 1 : 0, "");
  }
  std::vector<std::unique_ptr<BatchSource>> sources;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::unique_ptr<BatchSource> source, Open(config, path, Evaluation(config)));
    sources.push_back(std::move(source));
  }
  return sources;
}

absl::StatusOr<std::unique_ptr<BatchSource>> OpenEvaluationSource(const RunConfig& config,
                                                                  const std::string& path) {
  if (IsGenerated(config.data)) {
    return UsageError("generated data has no files to evaluate on", path,
                      absl::StrCat("the run's data.source is ", config.data.source));
  }
  return Open(config, path, Evaluation(config));
}

}  // namespace sluice
