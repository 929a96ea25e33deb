// From a data set's manifest to model inputs. A batch is a range of global sample indices and
// nothing else: ranks, micro-batches and prefetching only choose which range.
//
//   ASSIGN_OR_RETURN(auto source, BatchSource::Open("data/wiki", {.sequence_length = 128}));
//   Batch batch;
//   RETURN_IF_ERROR(source->Fill(/*first_sample=*/step * 256 + rank * 32, /*count=*/32, &batch));
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/batch.h"
#include "data/manifest.h"
#include "data/mlm_masking.h"
#include "data/sampler.h"
#include "data/sequence_packing.h"
#include "data/token_store.h"

namespace sluice {

// Fixed, so that perplexities of different runs see the same masks.
inline constexpr uint64_t kEvaluationMaskSeed = 1000;

struct BatchSourceSettings {
  int64_t sequence_length = 128;       // T
  std::string packing = "contiguous";  // sequence_packing.h
  bool attention_across_documents = true;
  double mlm_probability = 0.15;  // 0: no masking at all
  double mlm_mask_share = 0.8;
  double mlm_random_share = 0.1;
  // Training: order and masks depend on `seed`. Evaluation: the sequences in their own order, with
  // the masks of kEvaluationMaskSeed.
  bool evaluation = false;
  uint64_t seed = 1000;
  int64_t cache_bytes = int64_t{512} << 20;  // of tokens in memory, at most
};

// The settings that a run's configuration asks for.
BatchSourceSettings TrainingSettings(const DataConfig& config, uint64_t seed);
BatchSourceSettings EvaluationSettings(const DataConfig& config);

class BatchSource {
 public:
  // `path` is a manifest or its folder. Opens and checks all shards. DataError when a file is
  // missing or wrong, the data is shorter than one sequence, or masks are asked for and the
  // vocabulary has no [MASK]; UsageError for settings out of range.
  static absl::StatusOr<std::unique_ptr<BatchSource>> Open(const std::string& path,
                                                           const BatchSourceSettings& settings);

  int64_t sequences_per_epoch() const { return sampler_.sequences_per_epoch(); }
  int64_t sequence_length() const { return settings_.sequence_length; }
  int64_t dropped_tokens() const { return packing_.dropped_tokens(); }  // an epoch
  // Of tokens in memory at most.
  int64_t memory_bytes() const { return store_.cache_limit_bytes(); }
  const Manifest& manifest() const { return manifest_; }
  const TokenizerIdentity& tokenizer() const { return manifest_.tokenizer; }
  int64_t vocabulary_size() const { return manifest_.tokenizer.vocabulary_size; }

  // "21773568 tokens in 1 shard, 170105 sequences of 128 an epoch, 128 tokens dropped".
  std::string Summary() const;

  // Samples first_sample … first_sample + count - 1 as rows 0 … count - 1. Overwrites the batch
  // and reuses its memory. DataError when a chunk on disk is damaged.
  absl::Status Fill(int64_t first_sample, int64_t count, Batch* batch);

 private:
  BatchSource(const BatchSourceSettings& settings, Manifest manifest, TokenStore store,
              SequencePacking packing);
  // Numbers the documents of the T tokens from `begin` on: 0, 0, …, 1, ….
  void NumberDocuments(int64_t begin, int32_t* documents) const;

  BatchSourceSettings settings_;
  Manifest manifest_;
  TokenStore store_;
  SequencePacking packing_;
  Sampler sampler_;
  MlmMasking masking_;
  std::vector<int64_t> document_offsets_;  // empty when attention crosses documents
};

}  // namespace sluice
