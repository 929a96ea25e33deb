// What the attention kernels settle before any arithmetic: which keys the rows of a query block
// see, and where a worker's scratch lies.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/integer_math.h"
#include "kernels/api/attention.h"

namespace sluice::cpu {

// Rows of a register tile; ranges of visible keys are kept for groups of so many query rows.
inline constexpr int64_t kTileRows = 6;
// Query rows that are worked on together: their scores against all visible keys are the strip.
// Whole registers of AMX; register tiles of kTileRows rows end with a smaller one.
inline constexpr int64_t kQueryBlock = 64;
// Strips begin at multiples of this key; packed keys are padded to it.
inline constexpr int64_t kKeyAlignment = 64;

// Keys that a query sees of a segment: [begin, end). Keys are counted with the sink token, if there
// is one, as number 0: key number = token + sink_tokens.
struct KeyRange {
  int64_t begin, end;
  bool empty() const { return begin >= end; }
};

// A run of keys of which every row of a block sees one interval (or nothing), and in which neither
// the begins nor the ends of these intervals ever fall from row to row.
struct KeySegment {
  int64_t rows;                                                // of the block
  KeyRange keys[kQueryBlock];                                  // what each row sees
  KeyRange groups[(kQueryBlock + kTileRows - 1) / kTileRows];  // what kTileRows rows see together
  KeyRange all;                                                // what all of them see together
  int64_t origin;  // key of the segment's first column: all.begin rounded down to kKeyAlignment
  int64_t column;  // of the strip, where the segment begins

  // After keys[0 … seeing) are known; the rows after them see nothing. behind: a key after all.
  void Finish(int64_t seeing, int64_t behind) {
    for (int64_t r = seeing; r < rows; ++r) keys[r] = {behind, behind};
    const auto together = [&](int64_t begin, int64_t end) {
      end = std::min(end, seeing);
      return begin < end ? KeyRange{keys[begin].begin, keys[end - 1].end} : KeyRange{0, 0};
    };
    for (int64_t r = 0; r < rows; r += kTileRows) {
      groups[r / kTileRows] = together(r, r + kTileRows);
    }
    all = together(0, rows);
    origin = all.begin / kKeyAlignment * kKeyAlignment;
  }
};

// Queries [first, first + rows) of row b of the batch, and what each sees: one segment, or two
// where documents leave a gap between the keys that everyone sees (sink token and registers) and a
// query's own document. What lies in the gap is in neither.
struct QueryBlock {
  int64_t first, rows;
  int64_t seeing;  // the first so many rows see something; the others are padding

  QueryBlock(const AttentionMask& mask, int64_t T, int64_t sink_tokens, int64_t b, int64_t block)
      : first(block * kQueryBlock), rows(std::min(kQueryBlock, T - first)) {
    const int64_t length = mask.lengths == nullptr ? T : std::clamp<int64_t>(mask.lengths[b], 0, T);
    const int64_t registers = std::min(mask.registers, length);
    seeing = std::clamp<int64_t>(length - first, 0, rows);
    const KeyRange shared = {0, sink_tokens + registers};
    const bool split = mask.documents != nullptr && !shared.empty();
    KeySegment& own = segments_[split ? 1 : 0];
    own.rows = rows;
    own.column = split ? RoundUp(shared.end, kKeyAlignment) : 0;
    if (mask.documents != nullptr) {
      SeeDocuments(mask, mask.documents + b * T, length, sink_tokens, own);
    } else {
      for (int64_t r = 0; r < seeing; ++r) {
        const int64_t end = sink_tokens + (mask.causal ? first + r + 1 : length);
        own.keys[r] = {0, std::max(end, shared.end)};
      }
    }
    own.Finish(seeing, /*behind=*/T + 1);
    if (split) {
      segments_[0].rows = rows;
      segments_[0].column = 0;
      std::fill_n(segments_[0].keys, seeing, shared);
      segments_[0].Finish(seeing, /*behind=*/T + 1);
    }
    count_ = split ? 2 : 1;
  }

  std::span<const KeySegment> segments() const { return {segments_, count_}; }

 private:
  // document: of the row's T tokens. Registers stand before all documents and are in none.
  void SeeDocuments(const AttentionMask& mask, const int32_t* document, int64_t length,
                    int64_t sink_tokens, KeySegment& own) const {
    const int64_t registers = mask.registers;
    KeyRange seen = {0, 0};  // tokens, before the causal cut
    for (int64_t r = 0; r < seeing; ++r) {
      const int64_t i = first + r;
      if (i < registers) {
        own.keys[r] = {sink_tokens + registers, sink_tokens + registers};  // where documents begin
        continue;
      }
      if (r == 0 || i == registers || document[i] != document[i - 1]) {
        seen = {i, i + 1};
        while (seen.begin > registers && document[seen.begin - 1] == document[i]) --seen.begin;
        while (seen.end < length && document[seen.end] == document[i]) ++seen.end;
      }
      own.keys[r] = {sink_tokens + seen.begin, sink_tokens + (mask.causal ? i + 1 : seen.end)};
    }
  }

  KeySegment segments_[2];
  size_t count_;
};

// Goes through groups of neighbouring keys of a segment in rising order and says which rows of the
// block see any of a group.
class SeeingRows {
 public:
  explicit SeeingRows(const KeySegment& segment) : segment_(segment) {}
  // Rows of the block, as a range of rows.
  KeyRange Of(const KeyRange& keys) {
    const KeyRange* rows = segment_.keys;
    while (end_ < segment_.rows && rows[end_].begin < keys.end) ++end_;
    while (begin_ < end_ && rows[begin_].end <= keys.begin) ++begin_;
    return {begin_, end_};
  }

 private:
  const KeySegment& segment_;
  int64_t begin_ = 0, end_ = 0;
};

// Floats from one row to the next of packed (rows, D) matrices: padded to a whole vector of any
// instruction set, and off the powers of two that would put every row into the same cache sets.
inline int64_t PackedRowStride(int64_t D) {
  const int64_t padded = RoundUp(D, 16);
  return padded <= 64 ? padded : padded + 16;
}
// Floats of a packed transposed (D, keys) matrix.
inline int64_t PackedColumnsFloats(int64_t keys, int64_t D) {
  return RoundUp(keys, kKeyAlignment) * D;
}
// Floats from one row to the next of a strip of one segment or two.
inline int64_t StripStride(int64_t keys, int64_t segments) {
  return RoundUp(keys, kKeyAlignment) + 16 + (segments - 1) * kKeyAlignment;
}

// What of a call decides the layout of its scratch.
struct ScratchSizes {
  int64_t keys;  // T, and the sink token
  int64_t D;
  int64_t segments;     // of a block: 1 or 2
  bool ungated_output;  // backward needs the values by rows, to compute the ungated output again

  template <typename Args>
  static ScratchSizes Of(const Args& args) {
    const int64_t sink_tokens = args.sink_key == nullptr ? 0 : 1;
    const bool shared = sink_tokens + args.mask.registers > 0;
    return {.keys = args.T_ + sink_tokens,
            .D = args.D,
            .segments = shared && args.mask.documents != nullptr ? 2 : 1,
            .ungated_output = args.gate_per_channel && args.gate_site == GateSite::kQuery};
  }
  // No call of these sizes needs more.
  static ScratchSizes Largest(int64_t T, int64_t D) {
    return {.keys = T + 1, .D = D, .segments = 2, .ungated_output = true};
  }

  int64_t strip_stride() const { return StripStride(keys, segments); }
  int64_t row_stride() const { return PackedRowStride(D); }
};

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
  float* keys_transposed;  // (D, keys) in panels
  float* values;           // (keys, D)
  float* queries;          // (kQueryBlock, D), times scale
  float* strip;            // (kQueryBlock, keys): scores, then probabilities
  float* out;              // (kQueryBlock, D)

  ForwardScratch(Scratch& scratch, const ScratchSizes& sizes)
      : keys_transposed(scratch.Take(PackedColumnsFloats(sizes.keys, sizes.D))),
        values(scratch.Take(sizes.keys * sizes.row_stride())),
        queries(scratch.Take(kQueryBlock * sizes.row_stride())),
        strip(scratch.Take(kQueryBlock * sizes.strip_stride())),
        out(scratch.Take(kQueryBlock * sizes.row_stride())) {}
};

struct BackwardScratch {
  float* keys_transposed;    // (D, keys) in panels
  float* values_transposed;  // (D, keys) in panels, times the gate at the key site
  float* keys;               // (keys, D)
  float* dkeys;              // (keys, D), sums over the query blocks
  float* dvalues;            // (keys, D)
  float* queries;            // (kQueryBlock, D), times scale
  float* douts;              // (kQueryBlock, D)
  float* dqueries;           // (kQueryBlock, D); before that, the ungated output
  float* strip;              // (kQueryBlock, keys): scores, then dropped-out probabilities
  float* dstrip;             // (kQueryBlock, keys): gradient of the strip
  float* values;             // (keys, D), where the ungated output is computed again; else empty

  BackwardScratch(Scratch& scratch, const ScratchSizes& sizes)
      : keys_transposed(scratch.Take(PackedColumnsFloats(sizes.keys, sizes.D))),
        values_transposed(scratch.Take(PackedColumnsFloats(sizes.keys, sizes.D))),
        keys(scratch.Take(sizes.keys * sizes.row_stride())),
        dkeys(scratch.Take(RoundUp(sizes.keys, 16) * sizes.row_stride())),
        dvalues(scratch.Take(RoundUp(sizes.keys, 16) * sizes.row_stride())),
        queries(scratch.Take(kQueryBlock * sizes.row_stride())),
        douts(scratch.Take(kQueryBlock * sizes.row_stride())),
        dqueries(scratch.Take(kQueryBlock * sizes.row_stride())),
        strip(scratch.Take(kQueryBlock * sizes.strip_stride())),
        dstrip(scratch.Take(kQueryBlock * sizes.strip_stride())),
        values(scratch.Take(sizes.ungated_output ? sizes.keys * sizes.row_stride() : 0)) {}
};

// Floats of one worker's scratch.
template <typename Layout>
int64_t ScratchFloats(const ScratchSizes& sizes) {
  Scratch counter(nullptr);
  Layout layout(counter, sizes);
  (void)layout;
  return counter.taken();
}

}  // namespace sluice::cpu
