// Packing a bf16 matrix the way AMX products read it. oneDNN's own reorder moves 8 GB/s on two
// threads, a fifth of what memory does (docs/performance.md).
//
// The layout, oneDNN's BA16a64b2a: blocks of 32 inner x 64 columns, 4 KiB each, those of a block of
// columns one after another; in a block, pairs of inner neighbours lie together, pair p of column c
// at 2 · (64 · p + c). What lies beyond the matrix is zero.
#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace sluice::cpu {

inline constexpr int64_t kPairBlockInner = 32;
inline constexpr int64_t kPairBlockColumns = 64;

struct PairPackingArgs {
  const bf16* matrix;  // element (i, c) at i · inner_stride + c · column_stride; one of them is 1
  bf16* packed;        // RoundUp(inner, 32) · RoundUp(columns, 64) elements, 64-byte aligned
  int64_t inner, columns;
  int64_t inner_stride, column_stride;
};

void PackPairs(const PairPackingArgs& args);

}  // namespace sluice::cpu
