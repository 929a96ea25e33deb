// What our own fp32 products share: panels, and tiles of C = A · B summed in registers. Both
// operands lie packed as panels, kTileRows (of A) or kTileColumns (of B) wide, one element of the
// sum after another (K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication", ACM TOMS 34(3), 2008). What was measured: docs/measurements_gemm.md.
//
// A Highway "-inl" header: include it after hwy/foreach_target.h and hwy/highway.h, once a target.
#ifndef SLUICE_KERNELS_CPU_PRODUCT_TILE_ONCE_
#define SLUICE_KERNELS_CPU_PRODUCT_TILE_ONCE_

#include <cstdint>

namespace sluice::cpu {

// A multiple of each instruction set's kTileRows and kTileColumns and of its vectors.
inline constexpr int64_t kPanelQuantum = 48;
// Elements of the sum that are added in registers before c is written, at most.
inline constexpr int64_t kProductBlockDepth = 768;

// c (rows, columns) of panels: kAdd: c += a · b; kStore: c = a · b + bias; kStream: the same past
// the caches, for c and c_stride that are multiples of 64 bytes.
enum class TileEnd { kAdd, kStore, kStream };

struct ProductBlockArgs {
  const float* a_panels;  // one after another, of `depth` rows
  const float* b_panels;  // one after another, of b_depth rows, of which b_first… are multiplied;
                          // 64-byte aligned
  int64_t b_depth, b_first;
  const float* bias;  // (columns) or null; not read by kAdd
  float* c;           // rows c_stride apart
  int64_t c_stride, depth, rows, columns;
};

}  // namespace sluice::cpu

#endif  // SLUICE_KERNELS_CPU_PRODUCT_TILE_ONCE_

#if defined(SLUICE_KERNELS_CPU_PRODUCT_TILE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_PRODUCT_TILE_H_
#undef SLUICE_KERNELS_CPU_PRODUCT_TILE_H_
#else
#define SLUICE_KERNELS_CPU_PRODUCT_TILE_H_
#endif

#include <algorithm>

#include "core/integer_math.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using ProductTag = hn::ScalableTag<float>;
constexpr int64_t kLanes = hn::MaxLanes(ProductTag());

// A tile of sums, a row of b and one value of a fill the registers: 32 of them with AVX-512, 16
// with AVX2.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kTileRows = 8, kTileVectors = 3;
#elif HWY_TARGET == HWY_SCALAR
constexpr int64_t kTileRows = 4, kTileVectors = 4;
#else
constexpr int64_t kTileRows = 6, kTileVectors = 2;
#endif
constexpr int64_t kTileColumns = kTileVectors * kLanes;
static_assert(kPanelQuantum % kTileRows == 0 && kPanelQuantum % kTileColumns == 0 &&
              kPanelQuantum % kLanes == 0);

constexpr int64_t kLineFloats = 16;
// Rows of b that are asked for ahead of their use: the hardware's prefetch into L1 comes late.
constexpr int64_t kRowsAhead = 16;

struct ProductTile {
  const float* a;
  const float* b;
  int64_t depth;
  float* c;
  int64_t c_stride;
  const float* bias;        // (kTileColumns) or null
  const float* next;        // of the panel of b that follows, a part to bring into L2
  int64_t next_step_lines;  // cache lines of it for each of kTileRows steps
};

template <TileEnd kEnd>
HWY_INLINE void StoreTile(const hn::Vec<ProductTag> (&sums)[kTileRows][kTileVectors],
                          const ProductTile& tile) {
  const ProductTag d;
#pragma GCC unroll 8
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kTileVectors; ++v) {
      float* place = tile.c + i * tile.c_stride + v * kLanes;
      auto value = sums[i][v];
      if constexpr (kEnd == TileEnd::kAdd) {
        value = hn::Add(hn::LoadU(d, place), value);
      } else if (tile.bias != nullptr) {
        value = hn::Add(value, hn::LoadU(d, tile.bias + v * kLanes));
      }
      if constexpr (kEnd == TileEnd::kStream) {
        hn::Stream(value, d, place);
      } else {
        hn::StoreU(value, d, place);
      }
    }
  }
}

// One panel of each side. Meanwhile c is asked for, a row at a time: all at once would keep the
// loads of a and b waiting.
template <TileEnd kEnd>
HWY_INLINE void MultiplyTile(const ProductTile& tile) {
  const ProductTag d;
  const float* HWY_RESTRICT a = tile.a;
  const float* HWY_RESTRICT b = tile.b;
  hn::Vec<ProductTag> sums[kTileRows][kTileVectors];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kTileVectors; ++v) sums[i][v] = hn::Zero(d);
  }
  const int64_t step = CeilDiv(tile.depth, kTileRows);
  const float* c = tile.c;
  const float* next = tile.next;
  for (int64_t begin = 0; begin < tile.depth; begin += step, c += tile.c_stride) {
    if constexpr (kEnd != TileEnd::kStream) {
#pragma GCC unroll 8
      for (int64_t v = 0; v < kTileVectors; ++v) __builtin_prefetch(c + v * kLanes, 1);
    }
    for (int64_t line = 0; line < tile.next_step_lines; ++line, next += kLineFloats) {
      __builtin_prefetch(next, 0, 2);
    }
    const int64_t end = std::min(begin + step, tile.depth);
    for (int64_t k = begin; k < end; ++k) {
      hn::Vec<ProductTag> row[kTileVectors];
#pragma GCC unroll 8
      for (int64_t i = 0; i < kTileColumns; i += kLineFloats) {
        __builtin_prefetch(b + (k + kRowsAhead) * kTileColumns + i);
      }
#pragma GCC unroll 8
      for (int64_t v = 0; v < kTileVectors; ++v) {
        row[v] = hn::Load(d, b + k * kTileColumns + v * kLanes);
      }
#pragma GCC unroll 8
      for (int64_t i = 0; i < kTileRows; ++i) {
        const auto value = hn::Set(d, a[k * kTileRows + i]);
#pragma GCC unroll 8
        for (int64_t v = 0; v < kTileVectors; ++v) {
          sums[i][v] = hn::MulAdd(value, row[v], sums[i][v]);
        }
      }
    }
  }
  StoreTile<kEnd>(sums, tile);
}

// A tile of which only `rows` x `columns` lie in c, with the same sums.
template <TileEnd kEnd>
HWY_INLINE void MultiplyPartialTile(const ProductTile& tile, int64_t rows, int64_t columns) {
  alignas(64) float products[kTileRows * kTileColumns];
  ProductTile whole = tile;
  whole.c = products;
  whole.c_stride = kTileColumns;
  whole.bias = nullptr;
  MultiplyTile<TileEnd::kStore>(whole);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      float& place = tile.c[i * tile.c_stride + j];
      const float sum = products[i * kTileColumns + j];
      if constexpr (kEnd == TileEnd::kAdd) {
        place += sum;
      } else {
        place = tile.bias != nullptr ? sum + tile.bias[j] : sum;
      }
    }
  }
}

// b's panels outermost, each read by all of a's, which stay in L2; the panel that follows is
// fetched meanwhile, a part with each tile.
template <TileEnd kEnd>
HWY_INLINE void MultiplyBlock(const ProductBlockArgs& args) {
  const int64_t steps = CeilDiv(args.rows, kTileRows) * kTileRows;
  const int64_t step_lines = CeilDiv(args.depth * kTileColumns, kLineFloats * steps);
  for (int64_t j = 0; j < args.columns; j += kTileColumns) {
    const float* b = args.b_panels + j * args.b_depth + args.b_first * kTileColumns;
    const int64_t columns = std::min(kTileColumns, args.columns - j);
    const bool is_last = j + kTileColumns >= args.columns;
    for (int64_t i = 0; i < args.rows; i += kTileRows) {
      const int64_t rows = std::min(kTileRows, args.rows - i);
      const ProductTile tile = {
          .a = args.a_panels + i * args.depth,
          .b = b,
          .depth = args.depth,
          .c = args.c + i * args.c_stride + j,
          .c_stride = args.c_stride,
          .bias = args.bias != nullptr ? args.bias + j : nullptr,
          .next = b + args.b_depth * kTileColumns + i * step_lines * kLineFloats,
          .next_step_lines = is_last ? 0 : step_lines};
      if (rows == kTileRows && columns == kTileColumns) {
        MultiplyTile<kEnd>(tile);
      } else {
        MultiplyPartialTile<kEnd>(tile, rows, columns);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice::cpu
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_PRODUCT_TILE_H_
