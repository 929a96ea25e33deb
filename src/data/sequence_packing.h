// How the rows of a data set become sequences of a fixed length. Sequences are runs of tokens of
// the whole data set (TokenStore); packing says where each one begins.
//
//   contiguous            all rows of all shards end to end, cut every T tokens; only the very
//                         last remainder is dropped
//   blocks_of_1000_rows   as arXiv 2306.12929's code: rows in blocks of 1000, each block cut every
//                         T tokens, and each block's remainder dropped (also a block shorter than
//                         T, which that code keeps)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/token_store.h"

namespace sluice {

inline constexpr int64_t kRowsPerPackingBlock = 1000;

class SequencePacking {
 public:
  // `name` as above (UsageError otherwise); T = sequence_length >= 1. DataError when not even one
  // sequence is full.
  static absl::StatusOr<SequencePacking> Create(const std::string& name, int64_t sequence_length,
                                                const TokenStore& store);

  int64_t sequence_count() const { return first_sequence_.back(); }
  int64_t dropped_tokens() const { return dropped_tokens_; }

  // Position of the first token of sequence 0 … sequence_count() - 1.
  int64_t Begin(int64_t sequence) const;

 private:
  // A run of tokens that is cut into sequences.
  void AddBlock(int64_t begin, int64_t end);

  int64_t sequence_length_ = 0;
  int64_t dropped_tokens_ = 0;
  std::vector<int64_t> block_begin_;        // (blocks)
  std::vector<int64_t> first_sequence_{0};  // (blocks + 1)
};

}  // namespace sluice
