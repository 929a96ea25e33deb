// Packing the operands of our own fp32 products into panels (kernels/cpu/product_tile.h). Where the
// elements of the sum are a matrix's rows, pieces of rows are copied; where they are its columns,
// squares are transposed.
//
// A Highway "-inl" header: include it after hwy/foreach_target.h and hwy/highway.h, once a target.
#ifndef SLUICE_KERNELS_CPU_PRODUCT_PANELS_ONCE_
#define SLUICE_KERNELS_CPU_PRODUCT_PANELS_ONCE_

#include <cstdint>

namespace sluice::cpu {

struct PanelArgs {
  const float* matrix;  // element k of column c at k · stride + c, or at c · stride + k
  int64_t stride, depth, columns;  // depth: elements of the sum
  float* panels;                   // 64-byte aligned, the last filled up with zeros
  int64_t panel_depth;             // of which `depth` elements from panel_first on are written
  int64_t panel_first = 0;
  float* sums = nullptr;  // (columns) or null: Σ_k, ADDED to; from rows only
};

}  // namespace sluice::cpu

#endif  // SLUICE_KERNELS_CPU_PRODUCT_PANELS_ONCE_

#if defined(SLUICE_KERNELS_CPU_PRODUCT_PANELS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_PRODUCT_PANELS_H_
#undef SLUICE_KERNELS_CPU_PRODUCT_PANELS_H_
#else
#define SLUICE_KERNELS_CPU_PRODUCT_PANELS_H_
#endif

#include <algorithm>
#include <cstring>

#include "core/integer_math.h"
#include "hwy/highway.h"
#include "kernels/cpu/product_tile.h"
#include "kernels/cpu/vector_transpose.h"

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kPrefetchedRows = 8;  // ahead of those that are packed

// kPanelQuantum whole columns. Rows lie thousands of bytes apart, which hardware prefetchers do not
// see through.
template <int64_t kWidth>
HWY_INLINE void PackGroup(const PanelArgs& args, int64_t first) {
  const ProductTag d;
  constexpr int64_t kVectors = kPanelQuantum / kLanes;
  hn::Vec<ProductTag> sums[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) sums[v] = hn::Zero(d);
  for (int64_t n = 0; n < args.depth; ++n) {
    const float* row = args.matrix + n * args.stride + first;
    float* packed = args.panels + first * args.panel_depth + (args.panel_first + n) * kWidth;
    for (int64_t i = 0; i < kPanelQuantum; i += 16) {
      __builtin_prefetch(row + kPrefetchedRows * args.stride + i);
    }
#pragma GCC unroll 16
    for (int64_t panel = 0; panel < kPanelQuantum / kWidth; ++panel) {
      std::memcpy(packed + panel * kWidth * args.panel_depth, row + panel * kWidth,
                  kWidth * sizeof(float));
    }
    if (args.sums == nullptr) continue;
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) {
      sums[v] = hn::Add(sums[v], hn::LoadU(d, row + v * kLanes));
    }
  }
  if (args.sums == nullptr) return;
  for (int64_t v = 0; v < kVectors; ++v) {
    float* sum = args.sums + first + v * kLanes;
    hn::StoreU(hn::Add(hn::LoadU(d, sum), sums[v]), d, sum);
  }
}

// What remains: fewer than kPanelQuantum columns, in the same order of additions.
template <int64_t kWidth>
HWY_INLINE void PackRest(const PanelArgs& args, int64_t first) {
  const int64_t columns = args.columns - first, padded = RoundUp(columns, kWidth);
  float sums[kPanelQuantum] = {};
  for (int64_t n = 0; n < args.depth; ++n) {
    const float* row = args.matrix + n * args.stride + first;
    float* packed = args.panels + first * args.panel_depth + (args.panel_first + n) * kWidth;
    for (int64_t i = 0; i < padded; ++i) {
      const float value = i < columns ? row[i] : 0;
      packed[i / kWidth * kWidth * args.panel_depth + i % kWidth] = value;
      sums[i] += value;
    }
  }
  if (args.sums == nullptr) return;
  for (int64_t i = 0; i < columns; ++i) args.sums[first + i] += sums[i];
}

template <int64_t kWidth>
HWY_INLINE void PackPanelsFromRows(const PanelArgs& args) {
  int64_t first = 0;
  for (; first + kPanelQuantum <= args.columns; first += kPanelQuantum) {
    PackGroup<kWidth>(args, first);
  }
  if (first < args.columns) PackRest<kWidth>(args, first);
}

// One panel of `columns` columns, element by element.
template <int64_t kWidth>
HWY_INLINE void PackPartialPanel(const PanelArgs& args, const float* matrix, int64_t columns,
                                 float* panel) {
  for (int64_t k = 0; k < args.depth; ++k) {
    for (int64_t c = 0; c < kWidth; ++c) {
      panel[k * kWidth + c] = c < columns ? matrix[c * args.stride + k] : 0;
    }
  }
}

template <int64_t kWidth>
HWY_INLINE void PackPanelsFromColumns(const PanelArgs& args) {
  for (int64_t first = 0; first < args.columns; first += kWidth) {
    const float* matrix = args.matrix + first * args.stride;
    float* panel = args.panels + first * args.panel_depth + args.panel_first * kWidth;
    const int64_t columns = std::min(kWidth, args.columns - first);
    int64_t packed = 0;
#if HWY_TARGET != HWY_SCALAR
    constexpr int64_t kSide = kWidth % kLanes == 0 ? kLanes : 8;
    if constexpr (kLanes >= 8 && kWidth % kSide == 0) {
      if (columns == kWidth) packed = args.depth / kSide * kSide;
      for (int64_t k = 0; k < packed; k += kSide) {
        for (int64_t c = 0; c < kWidth; c += kSide) {
          sluice::HWY_NAMESPACE::TransposeSquare<kSide>(matrix + c * args.stride + k, args.stride,
                                                        panel + k * kWidth + c, kWidth);
        }
      }
    }
#endif
    if (packed == args.depth) continue;
    PanelArgs rest = args;
    rest.depth = args.depth - packed;
    PackPartialPanel<kWidth>(rest, matrix + packed, columns, panel + packed * kWidth);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice::cpu
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_PRODUCT_PANELS_H_
