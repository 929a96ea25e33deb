// Products of small packed fp32 matrices, C (+)= A · B, tile by tile in registers: what attention's
// five matrix products are made of. A Highway "-inl" header.
//
// B's rows are vectors, A's elements are broadcast; a tile of C (6 rows × 4 vectors of 512 bits, or
// 6 × 2 of 256) stays in registers over the whole depth.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_TILE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_TILE_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_TILE_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_TILE_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using FloatVector = hn::Vec<FloatTag>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(FloatTag()));
// As many accumulators as the register file holds beside B's vectors and A's element.
constexpr int kTileVectors = kLanes == 16 ? 4 : kLanes == 8 ? 2 : 4;
// Columns of a panel of a transposed matrix.
constexpr int64_t kPanel = kTileVectors * kLanes;
static_assert(cpu::kKeyAlignment % kPanel == 0);

struct TileProduct {
  const float* a;  // (rows, depth): element (m, k) at a[m · a_stride + k], or a[k · a_stride + m]
  const float* b;  // (depth, vectors): row k at b + k · b_stride
  float* c;        // (rows, vectors)
  int64_t a_stride, b_stride, c_stride;
  int64_t depth;
  bool accumulate;  // C += A · B; else C = A · B
};

template <bool kTransposedA, int kRows, int kVectors>
HWY_NOINLINE void MultiplyTile(const TileProduct& tile) {
  const FloatTag df;
  FloatVector sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) {
      sum[m][n] =
          tile.accumulate ? hn::Load(df, tile.c + m * tile.c_stride + n * kLanes) : hn::Zero(df);
    }
  }
  const float* a = tile.a;
  const float* b = tile.b;
  const int64_t a_row = kTransposedA ? 1 : tile.a_stride;
  const int64_t a_step = kTransposedA ? tile.a_stride : 1;
  const int64_t b_step = tile.b_stride;
  for (int64_t k = tile.depth; k > 0; --k) {
    FloatVector row[kVectors];
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) row[n] = hn::Load(df, b + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const FloatVector element = hn::Set(df, a[m * a_row]);
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) sum[m][n] = hn::MulAdd(element, row[n], sum[m][n]);
    }
    a += a_step;
    b += b_step;
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) {
      hn::Store(sum[m][n], df, tile.c + m * tile.c_stride + n * kLanes);
    }
  }
}

template <bool kTransposedA, int kRows>
HWY_INLINE void MultiplyTileOfRows(const TileProduct& tile, int64_t vectors) {
  switch (vectors) {
    case 1:
      return MultiplyTile<kTransposedA, kRows, 1>(tile);
    case 2:
      return MultiplyTile<kTransposedA, kRows, 2>(tile);
    case 3:
      if constexpr (kTileVectors > 2) return MultiplyTile<kTransposedA, kRows, 3>(tile);
      break;
    case 4:
      if constexpr (kTileVectors > 2) return MultiplyTile<kTransposedA, kRows, 4>(tile);
      break;
  }
}

// rows in 1…kTileRows, vectors in 1…kTileVectors.
template <bool kTransposedA>
HWY_INLINE void MultiplyTile(const TileProduct& tile, int64_t rows, int64_t vectors) {
  switch (rows) {
    case 1:
      return MultiplyTileOfRows<kTransposedA, 1>(tile, vectors);
    case 2:
      return MultiplyTileOfRows<kTransposedA, 2>(tile, vectors);
    case 3:
      return MultiplyTileOfRows<kTransposedA, 3>(tile, vectors);
    case 4:
      return MultiplyTileOfRows<kTransposedA, 4>(tile, vectors);
    case 5:
      return MultiplyTileOfRows<kTransposedA, 5>(tile, vectors);
    case 6:
      return MultiplyTileOfRows<kTransposedA, 6>(tile, vectors);
  }
}

// strip (rows, keys) = rows (rows, D) · packed (D, T), where visible: each group of rows only meets
// the vectors of keys that it sees. `strip` is where the segment begins: its column 0 is key
// segment.origin.
HWY_INLINE void MultiplyByColumns(const cpu::KeySegment& segment, const float* rows, int64_t D,
                                  const float* packed, float* strip, int64_t strip_stride,
                                  cpu::RowPrefetcher& prefetcher) {
  const int64_t row_stride = cpu::PackedRowStride(D);
  const int64_t first_panel = segment.origin / kPanel;
  for (int64_t panel = first_panel; panel * kPanel < segment.all.end; ++panel) {
    for (int64_t r = 0; r < segment.rows; r += cpu::kTileRows) {
      const cpu::KeyRange& seen = segment.groups[r / cpu::kTileRows];
      const int64_t begin = std::max<int64_t>(0, (seen.begin - panel * kPanel) / kLanes);
      const int64_t end = std::min<int64_t>(
          kTileVectors, CeilDiv(std::max<int64_t>(0, seen.end - panel * kPanel), kLanes));
      if (seen.empty() || begin >= end) continue;
      const TileProduct tile = {
          .a = rows + r * row_stride,
          .b = packed + panel * kPanel * D + begin * kLanes,
          .c = strip + r * strip_stride + panel * kPanel - segment.origin + begin * kLanes,
          .a_stride = row_stride,
          .b_stride = kPanel,
          .c_stride = strip_stride,
          .depth = D,
          .accumulate = false};
      MultiplyTile<false>(tile, std::min(cpu::kTileRows, segment.rows - r), end - begin);
      prefetcher.Advance();
    }
  }
}

// out (rows, D) += strip (rows, keys) · packed (T, D), over the keys that each group of rows sees.
// In chunks of keys that stay in the first-level cache from group to group.
HWY_INLINE void AddProductByRows(const cpu::KeySegment& segment, const float* strip,
                                 int64_t strip_stride, const float* packed, int64_t D, float* out,
                                 cpu::RowPrefetcher& prefetcher) {
  constexpr int64_t kChunk = 128;
  const int64_t stride = cpu::PackedRowStride(D);
  const int64_t vectors = CeilDiv(D, kLanes);
  for (int64_t chunk = segment.origin; chunk < segment.all.end; chunk += kChunk) {
    for (int64_t r = 0; r < segment.rows; r += cpu::kTileRows) {
      const cpu::KeyRange& seen = segment.groups[r / cpu::kTileRows];
      const int64_t begin = std::max(seen.begin, chunk);
      const int64_t end = std::min(seen.end, chunk + kChunk);
      for (int64_t n = 0; n < vectors && begin < end; n += kTileVectors) {
        const TileProduct tile = {.a = strip + r * strip_stride + begin - segment.origin,
                                  .b = packed + begin * stride + n * kLanes,
                                  .c = out + r * stride + n * kLanes,
                                  .a_stride = strip_stride,
                                  .b_stride = stride,
                                  .c_stride = stride,
                                  .depth = end - begin,
                                  .accumulate = true};
        MultiplyTile<false>(tile, std::min(cpu::kTileRows, segment.rows - r),
                            std::min<int64_t>(kTileVectors, vectors - n));
        prefetcher.Advance();
      }
    }
  }
}

// sums (T, D) += stripᵀ (keys, rows) · rows (rows, D), over the rows that see each group of keys.
HWY_INLINE void AddTransposedProduct(const cpu::KeySegment& segment, const float* strip,
                                     int64_t strip_stride, const float* rows, int64_t D,
                                     float* sums, cpu::RowPrefetcher& prefetcher) {
  const int64_t stride = cpu::PackedRowStride(D);
  const int64_t vectors = CeilDiv(D, kLanes);
  cpu::SeeingRows seeing_rows(segment);
  for (int64_t key = segment.all.begin; key < segment.all.end; key += cpu::kTileRows) {
    const int64_t keys = std::min(cpu::kTileRows, segment.all.end - key);
    const cpu::KeyRange seeing = seeing_rows.Of({key, key + keys});
    for (int64_t n = 0; n < vectors && !seeing.empty(); n += kTileVectors) {
      const TileProduct tile = {.a = strip + seeing.begin * strip_stride + key - segment.origin,
                                .b = rows + seeing.begin * stride + n * kLanes,
                                .c = sums + key * stride + n * kLanes,
                                .a_stride = strip_stride,
                                .b_stride = stride,
                                .c_stride = stride,
                                .depth = seeing.end - seeing.begin,
                                .accumulate = true};
      MultiplyTile<true>(tile, keys, std::min<int64_t>(kTileVectors, vectors - n));
      prefetcher.Advance();
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_TILE_H_
