// b lies as panels of all of its inner elements. Blocks, from the outside in:
//   items of some rows, and where there are few rows of some columns, whichever thread is free;
//   at most kProductBlockDepth of the elements that are summed: a's part is packed into the
//   thread's own memory, which stays in its L2 cache; then panels of b, each read by all of a's
//   panels; in registers a tile of c. The first block overwrites c (or adds to it), later ones add.
#include "kernels/cpu/packed_product.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/parallel.h"
#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/packed_product.cc"
#include "kernels/cpu/highway_targets.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/product_panels.h"
#include "kernels/cpu/product_tile.h"

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

void PackRows(const PanelArgs& args) { PackPanelsFromColumns<kTileRows>(args); }
void PackWeightFromRows(const PanelArgs& args) { PackPanelsFromRows<kTileColumns>(args); }
void PackWeightFromColumns(const PanelArgs& args) { PackPanelsFromColumns<kTileColumns>(args); }

void Multiply(const ProductBlockArgs& args, TileEnd end) {
  switch (end) {
    case TileEnd::kAdd:
      return MultiplyBlock<TileEnd::kAdd>(args);
    case TileEnd::kStore:
      return MultiplyBlock<TileEnd::kStore>(args);
    case TileEnd::kStream:
      MultiplyBlock<TileEnd::kStream>(args);
      hwy::FlushStream();  // before other threads are told that c is there
  }
}

bool HasVectorsOfSixteen() { return kLanes >= 16; }

}  // namespace HWY_NAMESPACE
}  // namespace sluice::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sluice::cpu {
namespace {

HWY_EXPORT(PackRows);
HWY_EXPORT(PackWeightFromRows);
HWY_EXPORT(PackWeightFromColumns);
HWY_EXPORT(Multiply);
HWY_EXPORT(HasVectorsOfSixteen);

constexpr int64_t kBlockRows = 6 * kPanelQuantum;  // at most 864 KiB of a
constexpr int64_t kFewRows = 2 * kPanelQuantum;    // fewer in a block, and columns are divided too
constexpr int64_t kPackedDepth = 16;               // rows of a weight that are packed at once
constexpr int64_t kRowQuantum = 8;                 // whole tiles
// A c so large is not read from caches by whoever comes next, and is written without reading it.
constexpr int64_t kStreamedBytes = int64_t{64} << 20;
// With shorter sums the library is as fast; so it is where more than a part in so many of the
// panels would be zeros (c's columns are then few, or end shortly after a panel).
constexpr int64_t kMinInner = 48, kMinPaddingShare = 32;

// How (rows, columns) of c are divided between threads.
struct Division {
  int64_t block_rows, row_blocks;
  int64_t block_columns, column_blocks;
};

Division Divide(int64_t rows, int64_t columns, int64_t threads) {
  // The columns are cut into a number that divides that of the threads: all get the same work.
  int64_t parts = 1;
  while (parts < threads && (threads % parts != 0 || rows * parts < threads * kFewRows)) ++parts;
  Division division;
  const int64_t blocks = RoundUp(CeilDiv(rows, kBlockRows), threads / parts);
  division.block_rows = RoundUp(CeilDiv(rows, blocks), kRowQuantum);
  division.row_blocks = CeilDiv(rows, division.block_rows);
  division.block_columns = RoundUp(CeilDiv(columns, parts), kPanelQuantum);
  division.column_blocks = CeilDiv(columns, division.block_columns);
  return division;
}

// Floats of one thread's part of a.
int64_t PanelFloats(int64_t rows, int64_t inner) {
  return RoundUp(std::min(rows, kBlockRows), kPanelQuantum) * std::min(inner, kProductBlockDepth);
}

TileEnd FirstEnd(const PackedProductArgs& args) {
  if (args.add_to_c) return TileEnd::kAdd;
  constexpr int64_t kFloat = sizeof(float), kLine = 64;
  const bool aligned =
      reinterpret_cast<uintptr_t>(args.c) % kLine == 0 && args.c_stride * kFloat % kLine == 0;
  const bool once = args.inner <= kProductBlockDepth;
  return aligned && once && args.rows * args.columns * kFloat >= kStreamedBytes ? TileEnd::kStream
                                                                                : TileEnd::kStore;
}

// Rows and columns of c from `row` and `column` on.
struct Item {
  int64_t row, rows;
  int64_t column, columns;
};

void MultiplyItem(const PackedProductArgs& args, const Item& item, float* panels) {
  // Blocks of about one depth: a shallow one would move c for little.
  const int64_t depth = CeilDiv(args.inner, CeilDiv(args.inner, kProductBlockDepth));
  for (int64_t first = 0; first < args.inner; first += depth) {
    const int64_t count = std::min(depth, args.inner - first);
    HWY_DYNAMIC_DISPATCH(PackRows)
    ({.matrix = args.a + item.row * args.a_stride + first,
      .stride = args.a_stride,
      .depth = count,
      .columns = item.rows,
      .panels = panels,
      .panel_depth = count});
    HWY_DYNAMIC_DISPATCH(Multiply)
    ({.a_panels = panels,
      .b_panels = static_cast<const float*>(args.b) + item.column * args.inner,
      .b_depth = args.inner,
      .b_first = first,
      .bias = args.bias != nullptr ? args.bias + item.column : nullptr,
      .c = args.c + item.row * args.c_stride + item.column,
      .c_stride = args.c_stride,
      .depth = count,
      .rows = item.rows,
      .columns = item.columns},
     first == 0 ? FirstEnd(args) : TileEnd::kAdd);
  }
}

}  // namespace

void PackWeightPanels(const WeightPanelArgs& args) {
  auto* packed = static_cast<float*>(args.packed);
  if (args.column_stride == 1) {
    ParallelFor(args.inner, kPackedDepth, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin; first < end; first += kPackedDepth) {
        HWY_DYNAMIC_DISPATCH(PackWeightFromRows)
        ({.matrix = args.weight + first * args.inner_stride,
          .stride = args.inner_stride,
          .depth = std::min(kPackedDepth, end - first),
          .columns = args.columns,
          .panels = packed,
          .panel_depth = args.inner,
          .panel_first = first});
      }
    });
    return;
  }
  ParallelFor(args.columns, kPanelQuantum, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(PackWeightFromColumns)
    ({.matrix = args.weight + begin * args.column_stride,
      .stride = args.column_stride,
      .depth = args.inner,
      .columns = end - begin,
      .panels = packed + begin * args.inner,
      .panel_depth = args.inner});
  });
}

int64_t PackedProductBytes(int64_t inner, int64_t columns) {
  return inner * RoundUp(columns, kPanelQuantum) * static_cast<int64_t>(sizeof(float));
}

void MultiplyPacked(const PackedProductArgs& args) {
  CHECK(args.bias == nullptr || !args.add_to_c) << "a bias where c is added to";
  const Division division = Divide(args.rows, args.columns, ComputeThreads());
  const int64_t panel_floats = PanelFloats(args.rows, args.inner);
  const int64_t items = division.row_blocks * division.column_blocks;
  ParallelForDynamic(items, [&](int worker, int64_t item) {
    const int64_t row = item / division.column_blocks * division.block_rows;
    const int64_t column = item % division.column_blocks * division.block_columns;
    MultiplyItem(args,
                 {.row = row,
                  .rows = std::min(division.block_rows, args.rows - row),
                  .column = column,
                  .columns = std::min(division.block_columns, args.columns - column)},
                 static_cast<float*>(args.workspace) + worker * panel_floats);
  });
}

int64_t PackedProductWorkspaceBytes(int64_t rows, int64_t inner) {
  return ComputeThreads() * PanelFloats(rows, inner) * static_cast<int64_t>(sizeof(float));
}

bool PackedProductIsFaster(int64_t inner, int64_t columns) {
  const int64_t padding = RoundUp(columns, kPanelQuantum) - columns;
  return inner >= kMinInner && padding * kMinPaddingShare <= columns &&
         HWY_DYNAMIC_DISPATCH(HasVectorsOfSixteen)();
}

}  // namespace sluice::cpu
#endif  // HWY_ONCE
