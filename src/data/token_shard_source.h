// From a data set's manifest to model inputs: runs of T tokens of its shards.
//
//   masked   some tokens are hidden and asked for again (mlm_masking.h)
//   causal   each token is asked for its successor: position t of a row has the target token[t +
//   1],
//            t = 0 … T - 2. Where tokens do not attend to other documents, the last token of a
//            document is asked for nothing
//
// What a row of T tokens is (row_start):
//
//   document    T tokens of the data in a row. Start symbols are where documents (or the other rows
//               that they were prepared as) begin, most rows of a batch have none at their start
//   every_row   the start symbol and T - 1 tokens of the data: [CLS] where the vocabulary has one,
//               else its bos token (OPT: </s>). The symbol comes on top of what the data has, so a
//               row whose first token of the data is a document's own start symbol has two. It
//               belongs to the document of that token, is never a masked target, and is asked for
//               that token by the causal objective, which so asks for each token of the data once
//               an epoch
//
//   ASSIGN_OR_RETURN(auto source, TokenShardSource::Open("data/wiki", {.sequence_length = 128}));
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/batch_source.h"
#include "data/mlm_masking.h"
#include "data/sampler.h"
#include "data/sequence_packing.h"
#include "data/token_store.h"

namespace sluice {

// Fixed, so that perplexities of different runs see the same masks.
inline constexpr uint64_t kEvaluationMaskSeed = 1000;

struct TokenShardSettings {
  int64_t sequence_length = 128;       // T
  std::string packing = "contiguous";  // sequence_packing.h
  std::string row_start = "document";  // or every_row
  bool attention_across_documents = true;
  Objective objective = Objective::kMasked;
  // The shares are read only for the masked objective.
  double mlm_probability = 0.15;  // 0: no masking at all
  double mlm_mask_share = 0.8;
  double mlm_random_share = 0.1;
  // Training: order and masks depend on `seed`. Evaluation: the sequences in their own order, with
  // the masks of kEvaluationMaskSeed.
  bool evaluation = false;
  uint64_t seed = 1000;
  int64_t cache_bytes = int64_t{512} << 20;  // of tokens in memory, at most
};

class TokenShardSource : public BatchSource {
 public:
  // `path` is a manifest or its folder. Opens and checks all shards. DataError when a file is
  // missing or wrong, the data is shorter than one sequence, masks are asked for and the vocabulary
  // has no [MASK], or row starts and it has no start symbol; UsageError for settings out of range.
  static absl::StatusOr<std::unique_ptr<TokenShardSource>> Open(const std::string& path,
                                                                const TokenShardSettings& settings);

  const std::string& name() const override { return name_; }
  int64_t sequences_per_epoch() const override { return sampler_.sequences_per_epoch(); }
  int64_t sequence_length() const override { return settings_.sequence_length; }
  int64_t dropped_tokens() const override { return packing_.dropped_tokens(); }
  int64_t memory_bytes() const override { return store_.cache_limit_bytes(); }
  const TokenizerIdentity& tokenizer() const override { return manifest_.tokenizer; }
  const Manifest* manifest() const override { return &manifest_; }

  // "21773568 tokens in 1 shard, 170105 sequences of 128 an epoch, 128 tokens dropped"; with
  // row_start every_row also ", each behind start symbol 2".
  std::string Summary() const override;

  absl::Status Fill(int64_t first_sample, int64_t count, Batch* batch) override;

 private:
  TokenShardSource(const TokenShardSettings& settings, Manifest manifest, TokenStore store,
                   SequencePacking packing);
  // Makes the batch's vectors as large as `count` rows need; those that are not used are empty.
  void Prepare(int64_t count, Batch* batch) const;
  // How many tokens of a row do not come from the data: 1 or 0.
  int64_t prepended() const { return start_symbol_ < 0 ? 0 : 1; }
  // Numbers the documents of the row whose data is from `begin` on: 0, 0, …, 1, ….
  void NumberDocuments(int64_t begin, int32_t* documents) const;
  // Appends row b's targets of the causal objective.
  void AskForSuccessors(int64_t b, Batch* batch) const;

  std::string name_;
  TokenShardSettings settings_;
  Manifest manifest_;
  TokenStore store_;
  SequencePacking packing_;
  Sampler sampler_;
  int32_t start_symbol_ = -1;              // of every row; -1: none but the data's
  std::unique_ptr<MlmMasking> masking_;    // null: causal
  std::vector<int64_t> document_offsets_;  // empty when attention crosses documents
};

}  // namespace sluice
