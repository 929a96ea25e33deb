// Writes one token shard. Rows are collected in memory and go to disk whole, so a shard is there
// complete or not at all, and every error of the disk is seen.
//
//   ShardWriter writer(tokenizer);
//   writer.AppendRow(row);     // one call a row, special tokens included
//   writer.EndDocument();
//   ASSIGN_OR_RETURN(ShardSummary summary, writer.Write("data/shard_00000.h5"));
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/shard_format.h"

namespace sluice {

struct ShardSummary {
  ShardHeader header;
  int64_t file_bytes = 0;
};

class ShardWriter {
 public:
  explicit ShardWriter(const TokenizerIdentity& tokenizer);

  // Adds a row to the current document. Ids must be in [0, vocabulary size): CHECK. Empty rows are
  // dropped.
  void AppendRow(std::span<const int32_t> ids);
  // Ends the current document; one without rows is dropped.
  void EndDocument();

  int64_t token_count() const { return static_cast<int64_t>(row_offsets_.back()); }

  // Ends the last document, writes and syncs the file and forgets all rows. At least one token:
  // CHECK. DeviceError when the disk declines. Peak memory is about twice the tokens' bytes.
  absl::StatusOr<ShardSummary> Write(const std::string& path);

 private:
  ShardHeader MakeHeader() const;

  TokenizerIdentity tokenizer_;
  int token_bytes_;
  std::vector<uint16_t> tokens16_;  // the one of the two that token_bytes_ says
  std::vector<uint32_t> tokens32_;
  std::vector<uint64_t> document_offsets_{0};
  std::vector<uint64_t> row_offsets_{0};
};

}  // namespace sluice
