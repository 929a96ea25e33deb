// Blocks, from the outside in (the names are those of the header):
//   kBlockColumns of b's columns, at most kBlockDepth of the rows that are summed over: b's part is
//   packed, once, by all threads; then items of at most kBlockRows of a's columns, whichever thread
//   is free: a's part is packed into the thread's own memory, which stays in its L2 cache; then
//   panels of b, each read by all of a's panels; in registers a tile of c.
// A panel is kTileRows (of a) or kTileColumns (of b) wide, its rows one after another.
#include "kernels/cpu/transposed_product.h"

#include <algorithm>
#include <cstring>

#include "core/integer_math.h"
#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/transposed_product.cc"
#include "kernels/cpu/highway_targets.h"
// clang-format off: the order matters
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

#ifndef SLUICE_KERNELS_CPU_TRANSPOSED_PRODUCT_ONCE_
#define SLUICE_KERNELS_CPU_TRANSPOSED_PRODUCT_ONCE_
namespace sluice::cpu {
namespace {

// Every block begins at a multiple of it: whole panels, tiles and vectors of each instruction set.
constexpr int64_t kQuantum = 48;
constexpr int64_t kBlockDepth = 768;              // c is read and written once for each
constexpr int64_t kBlockRows = 6 * kQuantum;      // at most 864 KiB of a
constexpr int64_t kBlockColumns = 32 * kQuantum;  // at most 4.5 MiB of b
constexpr int64_t kPrefetchedRows = 8;            // ahead of those that are packed

struct PanelArgs {
  const float* matrix;  // (depth, columns), rows `stride` apart
  int64_t stride, depth, columns;
  float* panels;  // one after another, the last filled up with zeros
  float* sums;    // (columns) or null: column sums, ADDED to
};

struct BlockArgs {
  const float* a_panels;
  const float* b_panels;
  float* c;  // rows c_stride apart
  int64_t c_stride, depth, rows, columns;
};

}  // namespace
}  // namespace sluice::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
constexpr int64_t kLanes = hn::MaxLanes(D());

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
static_assert(kQuantum % kTileRows == 0 && kQuantum % kTileColumns == 0 && kQuantum % kLanes == 0);

// kQuantum whole columns. Rows lie thousands of bytes apart, which hardware prefetchers do not see
// through.
template <int64_t kWidth>
HWY_INLINE void PackGroup(const PanelArgs& args, int64_t first) {
  const D d;
  constexpr int64_t kVectors = kQuantum / kLanes;
  hn::Vec<D> sums[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) sums[v] = hn::Zero(d);
  for (int64_t n = 0; n < args.depth; ++n) {
    const float* row = args.matrix + n * args.stride + first;
    float* packed = args.panels + first * args.depth + n * kWidth;
    for (int64_t i = 0; i < kQuantum; i += 16) {
      __builtin_prefetch(row + kPrefetchedRows * args.stride + i);
    }
#pragma GCC unroll 16
    for (int64_t panel = 0; panel < kQuantum / kWidth; ++panel) {
      std::memcpy(packed + panel * kWidth * args.depth, row + panel * kWidth,
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

// What remains: fewer than kQuantum columns, in the same order of additions.
template <int64_t kWidth>
HWY_INLINE void PackRest(const PanelArgs& args, int64_t first) {
  const int64_t columns = args.columns - first, padded = RoundUp(columns, kWidth);
  float sums[kQuantum] = {};
  for (int64_t n = 0; n < args.depth; ++n) {
    const float* row = args.matrix + n * args.stride + first;
    float* packed = args.panels + first * args.depth + n * kWidth;
    for (int64_t i = 0; i < padded; ++i) {
      const float value = i < columns ? row[i] : 0;
      packed[i / kWidth * kWidth * args.depth + i % kWidth] = value;
      sums[i] += value;
    }
  }
  if (args.sums == nullptr) return;
  for (int64_t i = 0; i < columns; ++i) args.sums[first + i] += sums[i];
}

template <int64_t kWidth>
HWY_INLINE void PackPanels(const PanelArgs& args) {
  int64_t first = 0;
  for (; first + kQuantum <= args.columns; first += kQuantum) PackGroup<kWidth>(args, first);
  if (first < args.columns) PackRest<kWidth>(args, first);
}

void PackRowPanels(const PanelArgs& args) { PackPanels<kTileRows>(args); }
void PackColumnPanels(const PanelArgs& args) { PackPanels<kTileColumns>(args); }

// c += aᵀ · b for one panel of each. Meanwhile c is asked for, a row at a time: all at once would
// keep the loads of a and b waiting.
HWY_INLINE void AddTile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t depth,
                        float* HWY_RESTRICT c, int64_t c_stride) {
  const D d;
  hn::Vec<D> sums[kTileRows][kTileVectors];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kTileVectors; ++v) sums[i][v] = hn::Zero(d);
  }
  const int64_t step = CeilDiv(depth, kTileRows);
  const float* next = c;
  for (int64_t begin = 0; begin < depth; begin += step, next += c_stride) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kTileVectors; ++v) __builtin_prefetch(next + v * kLanes, 1);
    const int64_t end = std::min(begin + step, depth);
    for (int64_t n = begin; n < end; ++n) {
      hn::Vec<D> row[kTileVectors];
#pragma GCC unroll 8
      for (int64_t v = 0; v < kTileVectors; ++v) {
        row[v] = hn::Load(d, b + n * kTileColumns + v * kLanes);
      }
#pragma GCC unroll 8
      for (int64_t i = 0; i < kTileRows; ++i) {
        const auto value = hn::Set(d, a[n * kTileRows + i]);
#pragma GCC unroll 8
        for (int64_t v = 0; v < kTileVectors; ++v) {
          sums[i][v] = hn::MulAdd(value, row[v], sums[i][v]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kTileVectors; ++v) {
      float* place = c + i * c_stride + v * kLanes;
      hn::StoreU(hn::Add(hn::LoadU(d, place), sums[i][v]), d, place);
    }
  }
}

// A tile of which only `rows` x `columns` lie in c.
HWY_INLINE void AddPartialTile(const float* a, const float* b, const BlockArgs& args, float* c,
                               int64_t rows, int64_t columns) {
  alignas(64) float tile[kTileRows * kTileColumns] = {};
  AddTile(a, b, args.depth, tile, kTileColumns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) c[i * args.c_stride + j] += tile[i * kTileColumns + j];
  }
}

void AddBlock(const BlockArgs& args) {
  for (int64_t j = 0; j < args.columns; j += kTileColumns) {
    const float* b = args.b_panels + j * args.depth;
    const int64_t columns = std::min(kTileColumns, args.columns - j);
    for (int64_t i = 0; i < args.rows; i += kTileRows) {
      const float* a = args.a_panels + i * args.depth;
      const int64_t rows = std::min(kTileRows, args.rows - i);
      float* c = args.c + i * args.c_stride + j;
      if (rows == kTileRows && columns == kTileColumns) {
        AddTile(a, b, args.depth, c, args.c_stride);
      } else {
        AddPartialTile(a, b, args, c, rows, columns);
      }
    }
  }
}

bool HasWideVectors() { return kLanes >= 16; }

}  // namespace HWY_NAMESPACE
}  // namespace sluice::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sluice::cpu {
namespace {

HWY_EXPORT(PackRowPanels);
HWY_EXPORT(PackColumnPanels);
HWY_EXPORT(AddBlock);
HWY_EXPORT(HasWideVectors);

// How (rows, columns) of c are divided between threads. Every item packs its own rows of a, so
// columns are only divided where there are too few rows for all threads.
struct Division {
  int64_t block_rows, row_blocks;
  int64_t block_columns, column_blocks;
};

Division Divide(int64_t rows, int64_t columns, int64_t threads) {
  constexpr int64_t kFewRows = 2 * kQuantum;
  Division division;
  // As many blocks for one thread as for another.
  const int64_t blocks = RoundUp(CeilDiv(rows, kBlockRows), threads);
  division.block_rows = std::clamp(RoundUp(CeilDiv(rows, blocks), kQuantum), kFewRows, kBlockRows);
  division.row_blocks = CeilDiv(rows, division.block_rows);
  const int64_t wanted = division.row_blocks < threads ? CeilDiv(threads, division.row_blocks) : 1;
  division.block_columns = RoundUp(CeilDiv(columns, wanted), kQuantum);
  division.column_blocks = CeilDiv(columns, division.block_columns);
  return division;
}

struct WorkspacePlan {
  int64_t b_floats;  // shared
  int64_t a_floats;  // of each thread
};

WorkspacePlan PlanWorkspace(int64_t rows, int64_t columns) {
  return {.b_floats = kBlockDepth * RoundUp(std::min(columns, kBlockColumns), kQuantum),
          .a_floats = kBlockDepth * RoundUp(std::min(rows, kBlockRows), kQuantum)};
}

// The part of the sum over b's columns first_column… and rows first… of both.
struct Part {
  int64_t first_column, columns;
  int64_t first, depth;
};

void AddPart(const TransposedProductArgs& args, const Part& part) {
  const WorkspacePlan plan = PlanWorkspace(args.rows, args.columns);
  float* b_panels = static_cast<float*>(args.workspace);
  float* a_panels = b_panels + plan.b_floats;
  ParallelFor(part.columns, kQuantum, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(PackColumnPanels)
    ({.matrix = args.b + part.first * args.b_stride + part.first_column + begin,
      .stride = args.b_stride,
      .depth = part.depth,
      .columns = end - begin,
      .panels = b_panels + begin * part.depth,
      .sums = nullptr});
  });
  const Division division = Divide(args.rows, part.columns, ComputeThreads());
  const int64_t items = division.row_blocks * division.column_blocks;
  ParallelForDynamic(items, [&](int worker, int64_t item) {
    const int64_t row = item / division.column_blocks * division.block_rows;
    const int64_t column = item % division.column_blocks * division.block_columns;
    const int64_t rows = std::min(division.block_rows, args.rows - row);
    float* panels = a_panels + worker * plan.a_floats;
    const bool sum = args.a_sums != nullptr && part.first_column + column == 0;
    HWY_DYNAMIC_DISPATCH(PackRowPanels)
    ({.matrix = args.a + part.first * args.a_stride + row,
      .stride = args.a_stride,
      .depth = part.depth,
      .columns = rows,
      .panels = panels,
      .sums = sum ? args.a_sums + row : nullptr});
    HWY_DYNAMIC_DISPATCH(AddBlock)
    ({.a_panels = panels,
      .b_panels = b_panels + column * part.depth,
      .c = args.c + row * args.columns + part.first_column + column,
      .c_stride = args.columns,
      .depth = part.depth,
      .rows = rows,
      .columns = std::min(division.block_columns, part.columns - column)});
  });
}

// Fewer rows do not pay for packing b.
constexpr int64_t kMinRows = 64;

}  // namespace

void AddTransposedProduct(const TransposedProductArgs& args) {
  // Blocks of about one depth: a shallow one would move c for little.
  const int64_t depth = CeilDiv(args.depth, CeilDiv(args.depth, kBlockDepth));
  for (int64_t column = 0; column < args.columns; column += kBlockColumns) {
    for (int64_t first = 0; first < args.depth; first += depth) {
      AddPart(args, {.first_column = column,
                     .columns = std::min(kBlockColumns, args.columns - column),
                     .first = first,
                     .depth = std::min(depth, args.depth - first)});
    }
  }
}

int64_t TransposedProductWorkspaceBytes(int64_t rows, int64_t columns) {
  const WorkspacePlan plan = PlanWorkspace(rows, columns);
  return (plan.b_floats + ComputeThreads() * plan.a_floats) * static_cast<int64_t>(sizeof(float));
}

bool HasFastTransposedProduct() { return HWY_DYNAMIC_DISPATCH(HasWideVectors)(); }

bool TransposedProductIsFaster(int64_t rows) {
  return rows >= kMinRows && HasFastTransposedProduct();
}

}  // namespace sluice::cpu
#endif  // HWY_ONCE
