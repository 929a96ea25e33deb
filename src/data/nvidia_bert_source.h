// Batches of files of NVIDIA's BERT layout: rows as they were made, with the masks, segments,
// padding and next-sentence labels that are stored.
//
//   ASSIGN_OR_RETURN(auto source, NvidiaBertSource::Open("data/phase1", {.vocabulary_size =
//   30522}));
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "data/batch_source.h"
#include "data/block_shuffle.h"
#include "data/nvidia_bert_store.h"

namespace sluice {

struct NvidiaBertSettings {
  int64_t sequence_length = 128;      // T: must be the files'
  int64_t vocabulary_size = 0;        // the files do not say; ids must be below
  int64_t segments = 2;               // segment ids must be below
  bool next_sentence_labels = false;  // whether batches carry them
  // Training: rows in an order that depends on `seed` (block_shuffle.h). Evaluation: in theirs.
  bool evaluation = false;
  uint64_t seed = 1000;
};

class NvidiaBertSource : public BatchSource {
 public:
  // `path`: NvidiaBertFiles. UsageError for settings out of range; DataError when a file is missing
  // or wrong, or its rows are not of sequence_length tokens.
  static absl::StatusOr<std::unique_ptr<NvidiaBertSource>> Open(const std::string& path,
                                                                const NvidiaBertSettings& settings);

  const std::string& name() const override { return name_; }
  int64_t sequences_per_epoch() const override { return shuffle_.rows_per_epoch(); }
  int64_t sequence_length() const override { return settings_.sequence_length; }
  int64_t memory_bytes() const override { return store_.memory_bytes(); }
  const TokenizerIdentity& tokenizer() const override { return tokenizer_; }
  // "600000 rows of 128 tokens in 3 files, shuffled within windows of 131072 rows".
  std::string Summary() const override;
  absl::Status Fill(int64_t first_sample, int64_t count, Batch* batch) override;

  int64_t blocks_read() const { return store_.blocks_read(); }

 private:
  NvidiaBertSource(std::string path, const NvidiaBertSettings& settings, NvidiaBertStore store);
  void Prepare(int64_t count, Batch* batch) const;
  // Row `row` of `rows`, which has room for `predictions` targets a row, becomes the batch's row b.
  void CopyRow(const NvidiaBertRows& rows, int64_t predictions, int64_t row, int64_t b,
               Batch* batch) const;

  std::string name_;
  NvidiaBertSettings settings_;
  TokenizerIdentity tokenizer_;
  NvidiaBertStore store_;
  BlockShuffle shuffle_;
};

}  // namespace sluice
