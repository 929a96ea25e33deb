// Where batches come from. A batch is a range of global sample indices and nothing else: ranks,
// micro-batches and prefetching only choose which range.
//
//   ASSIGN_OR_RETURN(auto source, OpenTrainingSource(config));   // open_batch_source.h
//   Batch batch;
//   RETURN_IF_ERROR(source->Fill(/*first_sample=*/step * 256 + rank * 32, /*count=*/32, &batch));
//
// A source is used by one thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "data/batch.h"
#include "data/manifest.h"

namespace sluice {

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  BatchSource(const BatchSource&) = delete;
  BatchSource& operator=(const BatchSource&) = delete;

  // What logs, metrics and messages call it: the path that it was opened with, or what makes it.
  virtual const std::string& name() const = 0;

  // 0: samples never repeat (training only; what is evaluated has an end).
  virtual int64_t sequences_per_epoch() const = 0;
  virtual int64_t sequence_length() const = 0;
  virtual int64_t dropped_tokens() const { return 0; }  // an epoch
  virtual int64_t memory_bytes() const = 0;             // of data in memory at most

  // What the ids are. Its vocabulary_size bounds every id of a batch; the rest is empty where the
  // data does not say.
  virtual const TokenizerIdentity& tokenizer() const = 0;
  int64_t vocabulary_size() const { return tokenizer().vocabulary_size; }
  // Beside it lies the vocabulary file; null when the data comes without one.
  virtual const Manifest* manifest() const { return nullptr; }

  // One line for people: how much there is, and what an epoch is.
  virtual std::string Summary() const = 0;

  // Samples first_sample … first_sample + count - 1 as rows 0 … count - 1. Overwrites the batch
  // and reuses its memory. DataError when the data turns out to be damaged.
  virtual absl::Status Fill(int64_t first_sample, int64_t count, Batch* batch) = 0;

 protected:
  BatchSource() = default;
};

}  // namespace sluice
