// Batches of the Bigram-Backcopy task, made as they are asked for. A sample is a function of the
// seed and its global index: training never sees one twice, and ranks, micro-batches and resumes
// need nothing but the index.
//
//   ASSIGN_OR_RETURN(auto source, BigramBackcopySource::Create({.sequence_length = 256, .seed =
//   1}));
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/philox.h"
#include "data/batch_source.h"
#include "data/bigram_backcopy.h"

namespace sluice {

struct BigramBackcopySettings {
  int64_t sequence_length = 256;  // T: inputs s_0 … s_{T-1}, targets s_1 … s_T at all T positions
  uint64_t seed = 1000;           // of training; evaluation has one of its own
  int64_t evaluation_sequences = 0;  // 0: for training, without end; else a fixed set of as many
  std::string table = "synthetic";   // or the path of a text
  int64_t triggers = 3;              // the most frequent tokens
};

class BigramBackcopySource : public BatchSource {
 public:
  // UsageError for settings out of range; DataError for a text that gives no table.
  static absl::StatusOr<std::unique_ptr<BigramBackcopySource>> Create(
      const BigramBackcopySettings& settings);

  const std::string& name() const override { return name_; }  // "bigram_backcopy"
  int64_t sequences_per_epoch() const override { return settings_.evaluation_sequences; }
  int64_t sequence_length() const override { return settings_.sequence_length; }
  int64_t memory_bytes() const override;
  const TokenizerIdentity& tokenizer() const override { return tokenizer_; }
  std::string Summary() const override;
  const BigramBackcopy& task() const { return task_; }
  absl::Status Fill(int64_t first_sample, int64_t count, Batch* batch) override;

 private:
  BigramBackcopySource(const BigramBackcopySettings& settings, BigramBackcopy task);

  std::string name_ = "bigram_backcopy";
  BigramBackcopySettings settings_;
  BigramBackcopy task_;
  TokenizerIdentity tokenizer_;
  PhiloxKey key_;
  std::vector<int32_t> tokens_;  // (T + 1): of the sample at hand
};

}  // namespace sluice
