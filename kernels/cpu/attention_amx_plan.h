// Where a worker's scratch lies when attention's products run on AMX.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/bf16.h"
#include "core/integer_math.h"
#include "kernels/cpu/amx_tile.h"
#include "kernels/cpu/attention_plan.h"

namespace sluice::cpu {

// Elements from one bf16 row of D to the next: whole products, zeros beyond D.
inline int64_t AmxDepth(int64_t D) { return RoundUp(D, kAmxDepth); }
// Keys from one row of a (…, keys) matrix to the next, off the powers of two.
inline int64_t AmxKeyStride(int64_t keys) { return RoundUp(keys, kKeyAlignment) + kAmxDepth; }

inline bf16* TakeBf16(Scratch& scratch, int64_t elements) {
  return reinterpret_cast<bf16*>(scratch.Take(CeilDiv(elements, 2)));
}

struct AmxForwardScratch {
  bf16* rows;         // (keys, D): keys, then values
  bf16* key_columns;  // (D / 2, keys) pairs
  bf16* value_pairs;  // (keys / 2, D) pairs, times the gate at the key site
  bf16* queries;      // (kQueryBlock, D)
  bf16* weights;      // (kQueryBlock, keys): rounded probabilities
  float* strip;       // (kQueryBlock, keys): scores, then probabilities
  float* out;         // (kQueryBlock, D)

  AmxForwardScratch(Scratch& scratch, const ScratchSizes& sizes) {
    const int64_t depth = AmxDepth(sizes.D), stride = AmxKeyStride(sizes.keys);
    rows = TakeBf16(scratch, stride * depth);
    key_columns = TakeBf16(scratch, stride * depth);
    value_pairs = TakeBf16(scratch, stride * depth);
    queries = TakeBf16(scratch, kQueryBlock * depth);
    weights = TakeBf16(scratch, kQueryBlock * stride);
    strip = scratch.Take(kQueryBlock * sizes.strip_stride());
    out = scratch.Take(kQueryBlock * sizes.row_stride());
  }
};

struct AmxBackwardScratch {
  bf16* rows;                 // (keys, D): values, then keys
  bf16* key_columns;          // (D / 2, keys) pairs
  bf16* value_columns;        // (D / 2, keys) pairs, times the gate at the key site
  bf16* key_pairs;            // (keys / 2, D) pairs
  bf16* value_pairs;          // (keys / 2, D) pairs, where the ungated output is computed again
  bf16* queries;              // (kQueryBlock, D)
  bf16* douts;                // (kQueryBlock, D)
  bf16* row_pairs;            // (kQueryBlock / 2, D) pairs of one of them
  bf16* queries_transposed;   // (D, kQueryBlock)
  bf16* douts_transposed;     // (D, kQueryBlock)
  bf16* strip_rows;           // (kQueryBlock, keys): a rounded strip
  bf16* strip_pairs;          // (kQueryBlock / 2, keys) pairs of one
  float* dkeys_transposed;    // (D, keys), sums over the query blocks
  float* dvalues_transposed;  // (D, keys)

  AmxBackwardScratch(Scratch& scratch, const ScratchSizes& sizes) {
    const int64_t depth = AmxDepth(sizes.D), stride = AmxKeyStride(sizes.keys);
    for (bf16** keys : {&rows, &key_columns, &value_columns, &key_pairs, &value_pairs}) {
      *keys = TakeBf16(scratch, stride * depth);
    }
    for (bf16** block : {&queries, &douts, &row_pairs, &queries_transposed, &douts_transposed}) {
      *block = TakeBf16(scratch, kQueryBlock * depth);
    }
    strip_rows = TakeBf16(scratch, kQueryBlock * stride);
    strip_pairs = TakeBf16(scratch, kQueryBlock * stride);
    dkeys_transposed = scratch.Take(depth * stride);
    dvalues_transposed = scratch.Take(depth * stride);
  }
};

// Floats of one worker's scratch, whichever way its products run.
inline int64_t ForwardFloats(const ScratchSizes& sizes) {
  const int64_t floats = ScratchFloats<ForwardScratch>(sizes);
  return HasAmxTiles() ? std::max(floats, ScratchFloats<AmxForwardScratch>(sizes)) : floats;
}
inline int64_t BackwardFloats(const ScratchSizes& sizes) {
  const int64_t floats = ScratchFloats<BackwardScratch>(sizes);
  return HasAmxTiles() ? floats + ScratchFloats<AmxBackwardScratch>(sizes) : floats;
}

// Tokens of row b of the batch that are not padding.
inline int64_t VisibleTokens(const AttentionMask& mask, int64_t T, int64_t b) {
  return mask.lengths == nullptr ? T : std::clamp<int64_t>(mask.lengths[b], 0, T);
}

}  // namespace sluice::cpu
