// What the attention kernels settle before any arithmetic: which keys the rows of a query block
// see, and where a worker's scratch lies.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/integer_math.h"
#include "kernels/api/attention.h"

namespace sluice::cpu {

// Rows of a register tile; ranges of visible keys are kept for groups of so many query rows.
inline constexpr int64_t kTileRows = 6;
// Query rows that are worked on together: their scores against all visible keys are the strip.
inline constexpr int64_t kQueryBlock = 11 * kTileRows;
// Strips begin at multiples of this key; packed keys are padded to it.
inline constexpr int64_t kKeyAlignment = 64;

// Keys [begin, end) that a query sees. Causal, length and document masks leave each query one
// interval, and in a block the begins and ends of the queries that see anything never fall.
struct KeyRange {
  int64_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

// The smallest range that holds both.
inline KeyRange Union(const KeyRange& a, const KeyRange& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// Queries [first, first + rows) of row b of the batch, and what each sees.
struct QueryBlock {
  int64_t first, rows;
  KeyRange keys[kQueryBlock];
  KeyRange groups[kQueryBlock / kTileRows];  // what kTileRows rows see together
  KeyRange all;                              // union of keys
  int64_t origin;  // key of the strip's column 0: all.begin rounded down to kKeyAlignment

  QueryBlock(const AttentionMask& mask, int64_t T, int64_t b, int64_t block)
      : first(block * kQueryBlock), rows(std::min(kQueryBlock, T - first)) {
    const int64_t length = mask.lengths == nullptr ? T : std::clamp<int64_t>(mask.lengths[b], 0, T);
    const int32_t* document = mask.documents == nullptr ? nullptr : mask.documents + b * T;
    KeyRange seen = {0, length};  // before the causal cut
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = first + r;
      if (i >= length) continue;
      if (document != nullptr && (r == 0 || document[i] != document[i - 1])) {
        seen = {i, i + 1};
        while (seen.begin > 0 && document[seen.begin - 1] == document[i]) --seen.begin;
        while (seen.end < length && document[seen.end] == document[i]) ++seen.end;
      }
      keys[r] = {seen.begin, mask.causal ? i + 1 : seen.end};
      groups[r / kTileRows] = Union(groups[r / kTileRows], keys[r]);
      all = Union(all, keys[r]);
    }
    origin = all.begin / kKeyAlignment * kKeyAlignment;
  }
};

// Goes through groups of neighbouring keys in rising order and says which rows of a block see any
// of a group. Rows that see nothing (padding) are a block's last ones.
class SeeingRows {
 public:
  explicit SeeingRows(const QueryBlock& block) : block_(block) {}
  // Rows of the block, as a range of rows.
  KeyRange Of(const KeyRange& keys) {
    const KeyRange* rows = block_.keys;
    while (end_ < block_.rows && !rows[end_].empty() && rows[end_].begin < keys.end) ++end_;
    while (begin_ < end_ && rows[begin_].end <= keys.begin) ++begin_;
    return {begin_, end_};
  }

 private:
  const QueryBlock& block_;
  int64_t begin_ = 0, end_ = 0;
};

// Floats from one row to the next of packed (rows, D) matrices: padded to a whole vector of any
// instruction set, and off the powers of two that would put every row into the same cache sets.
inline int64_t PackedRowStride(int64_t D) {
  const int64_t padded = RoundUp(D, 16);
  return padded <= 64 ? padded : padded + 16;
}
// Floats of a packed transposed (D, T) matrix.
inline int64_t PackedColumnsFloats(int64_t T, int64_t D) { return RoundUp(T, kKeyAlignment) * D; }
// Floats from one row to the next of a strip.
inline int64_t StripStride(int64_t T) { return RoundUp(T, kKeyAlignment) + 16; }

// Hands out 64-byte aligned pieces of a worker's scratch; with a null base it only counts.
class Scratch {
 public:
  explicit Scratch(float* base) : base_(base) {}
  float* Take(int64_t floats) {
    float* piece = base_ == nullptr ? nullptr : base_ + taken_;
    taken_ += RoundUp(floats, 16);
    return piece;
  }
  int64_t taken() const { return taken_; }

 private:
  float* base_;
  int64_t taken_ = 0;
};

struct ForwardScratch {
  float* keys_transposed;  // (D, T) in panels
  float* values;           // (T, D)
  float* queries;          // (kQueryBlock, D), times scale
  float* strip;            // (kQueryBlock, T): scores, then probabilities
  float* out;              // (kQueryBlock, D)

  ForwardScratch(Scratch& scratch, int64_t T, int64_t D)
      : keys_transposed(scratch.Take(PackedColumnsFloats(T, D))),
        values(scratch.Take(T * PackedRowStride(D))),
        queries(scratch.Take(kQueryBlock * PackedRowStride(D))),
        strip(scratch.Take(kQueryBlock * StripStride(T))),
        out(scratch.Take(kQueryBlock * PackedRowStride(D))) {}
};

struct BackwardScratch {
  float* keys_transposed;    // (D, T) in panels
  float* values_transposed;  // (D, T) in panels, times the gate at the key site
  float* keys;               // (T, D)
  float* dkeys;              // (T, D), sums over the query blocks
  float* dvalues;            // (T, D)
  float* queries;            // (kQueryBlock, D), times scale
  float* douts;              // (kQueryBlock, D)
  float* dqueries;           // (kQueryBlock, D)
  float* strip;              // (kQueryBlock, T): scores, then dropped-out probabilities
  float* dstrip;             // (kQueryBlock, T): gradient of the strip

  BackwardScratch(Scratch& scratch, int64_t T, int64_t D)
      : keys_transposed(scratch.Take(PackedColumnsFloats(T, D))),
        values_transposed(scratch.Take(PackedColumnsFloats(T, D))),
        keys(scratch.Take(T * PackedRowStride(D))),
        dkeys(scratch.Take(T * PackedRowStride(D))),
        dvalues(scratch.Take(T * PackedRowStride(D))),
        queries(scratch.Take(kQueryBlock * PackedRowStride(D))),
        douts(scratch.Take(kQueryBlock * PackedRowStride(D))),
        dqueries(scratch.Take(kQueryBlock * PackedRowStride(D))),
        strip(scratch.Take(kQueryBlock * StripStride(T))),
        dstrip(scratch.Take(kQueryBlock * StripStride(T))) {}
};

// Floats of one worker's scratch.
template <typename Layout>
int64_t ScratchFloats(int64_t T, int64_t D) {
  Scratch counter(nullptr);
  Layout layout(counter, T, D);
  (void)layout;
  return counter.taken();
}

}  // namespace sluice::cpu
