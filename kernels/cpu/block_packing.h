// Packing a matrix the way oneDNN's products read their right side. oneDNN's own reorder moves 7 to
// 14 GB/s on two threads, a fifth to a third of what memory does (docs/performance.md).
//
// The layouts are blocks of 4 KiB, 64 columns wide, those of a block of columns one after another:
//   fp32  BA16a64b    16 inner x 64 columns; element (i, c) at 64 · i + c
//   bf16  BA16a64b2a  32 inner x 64 columns; pairs of inner neighbours lie together, as the
//                     instructions read them: pair p of column c at 2 · (64 · p + c)
// Both are 16 rows of 64 words of 32 bits. What lies beyond the matrix is zero.
#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace sluice::cpu {

inline constexpr int64_t kPackedBlockColumns = 64;

// Inner elements in a word of 32 bits: 1 of fp32, 2 of bf16.
template <typename T>
inline constexpr int64_t kPackedWordInner = 4 / static_cast<int64_t>(sizeof(T));
template <typename T>
inline constexpr int64_t kPackedBlockInner = 16 * kPackedWordInner<T>;

template <typename T>
struct BlockPackingArgs {
  const T* matrix;  // element (i, c) at i · inner_stride + c · column_stride; one of them is 1
  T* packed;  // RoundUp(inner, kPackedBlockInner<T>) · RoundUp(columns, 64) elements, 64-byte
              // aligned
  int64_t inner, columns;
  int64_t inner_stride, column_stride;
};

template <typename T>  // float, bf16
void PackBlocks(const BlockPackingArgs<T>& args);

}  // namespace sluice::cpu
