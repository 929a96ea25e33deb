// What a model gets for one forward and backward: B rows of T tokens, and what is asked of them.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice {

struct Batch {
  int64_t B = 0;  // rows (sequences)
  int64_t T = 0;  // tokens a row

  std::vector<int32_t> tokens;    // (B, T): input ids, masking applied
  std::vector<int32_t> segments;  // (B, T), or empty: all segment 0
  std::vector<int32_t> lengths;   // (B): tokens of each row that are not padding; or empty: all T
  std::vector<int32_t>
      documents;  // (B, T): rising document numbers within a row; or empty: no document mask
  std::vector<int64_t>
      sample_index;  // (B): global index of each row over all epochs and ranks (keys the dropout)

  // The positions that the loss looks at, rising, as b·T + t, and the ids asked for there: what a
  // masked token was, or (causal) the token that comes next.
  std::vector<int32_t> target_positions;  // (M)
  std::vector<int32_t> targets;           // (M)

  std::vector<int32_t> next_sentence_labels;  // (B): 0 follows, 1 random; or empty
};

}  // namespace sluice
