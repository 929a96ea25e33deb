// Blocks, from the outside in (the names are those of the header):
//   kBlockColumns of b's columns, at most kBlockDepth of the rows that are summed over: b's part is
//   packed, once, by all threads; then items of at most kBlockRows of a's columns, whichever thread
//   is free: a's part is packed into the thread's own memory, which stays in its L2 cache; then
//   panels of b, each read by all of a's panels; in registers a tile of c.
// A panel is kTileRows (of a) or kTileColumns (of b) wide, its rows one after another.
#include "kernels/cpu/transposed_product.h"

#include <algorithm>

#include "core/integer_math.h"
#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/transposed_product.cc"
#include "kernels/cpu/highway_targets.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/product_panels.h"
#include "kernels/cpu/product_tile.h"

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

void PackRowPanels(const PanelArgs& args) { PackPanelsFromRows<kTileRows>(args); }
void PackColumnPanels(const PanelArgs& args) { PackPanelsFromRows<kTileColumns>(args); }

void AddBlock(const ProductBlockArgs& args) { MultiplyBlock<TileEnd::kAdd>(args); }
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

// Every block begins at a multiple of it: whole panels, tiles and vectors of each instruction set.
constexpr int64_t kQuantum = kPanelQuantum;
constexpr int64_t kBlockDepth = kProductBlockDepth;  // c is read and written once for each
constexpr int64_t kBlockRows = 6 * kQuantum;         // at most 864 KiB of a
constexpr int64_t kBlockColumns = 32 * kQuantum;     // at most 4.5 MiB of b

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
      .panel_depth = part.depth,
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
      .panel_depth = part.depth,
      .sums = sum ? args.a_sums + row : nullptr});
    HWY_DYNAMIC_DISPATCH(AddBlock)
    ({.a_panels = panels,
      .b_panels = b_panels + column * part.depth,
      .b_depth = part.depth,
      .b_first = 0,
      .bias = nullptr,
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
