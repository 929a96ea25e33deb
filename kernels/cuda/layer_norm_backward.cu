// LayerNorm backward. A block takes a run of rows, several at a time, each by a group of warps; a
// thread owns the same columns of every row of its group, so the gradients of weight and bias are
// summed in its registers. The groups' sums are added up in order in shared memory, the blocks' in
// order by a second kernel; how rows are dealt out depends on N and C alone. Rows that are not
// aligned, or have more than 4096 columns, take a kernel of their own (kWidth 1), in which the sums
// of the columns beyond the registers are in workspace all the time.
#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "kernels/api/layer_norm.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/row_dropout.cuh"

namespace sluice::cuda {
namespace {

constexpr int kMostBlocks = 512;  // few enough that their partial sums stay in the L2 cache
constexpr int kWarps = 8;         // of a block, unless one row takes more
constexpr int kMostWarpsPerRow = 16;
// Blocks of so many warps that a multiprocessor has to hold.
constexpr int LeastBlocks(int warps) { return warps == kWarps ? 3 : 1; }

// How rows are dealt out.
struct Plan {
  Plan(int64_t N, int64_t C)
      : tiles(CeilDiv(C, kTileColumns)),
        warps_per_row(static_cast<int>(std::clamp<int64_t>(tiles, 1, kMostWarpsPerRow))),
        groups(std::max(1, kWarps / warps_per_row)),
        rows_per_block(RoundUp(CeilDiv(N, kMostBlocks), groups)),
        blocks(N == 0 ? 0 : CeilDiv(N, rows_per_block)),
        floats_per_block(2 * tiles * kTileColumns) {}

  int64_t tiles;  // of 256 columns
  int warps_per_row;
  int groups;  // rows that a block works on at a time
  int64_t rows_per_block, blocks;
  int64_t floats_per_block;  // of partial sums: dweight's tiles, then dbias's
};

// What is known of a tile of a row before the row's means.
struct Tile {
  float weight[kTileValues];
  float dy[kTileValues];
  float normalized[kTileValues];  // 0 beyond the row
};

template <int kWidth, typename T>
__device__ __forceinline__ void LoadRow(const LayerNormBackwardArgs<T>& args, int64_t n,
                                        int64_t column, Tile& tile) {
  LoadTile<kWidth>(args.dy + n * args.C, column, args.C, tile.dy);
  LoadTile<kWidth>(args.sum + n * args.C, column, args.C, tile.normalized);
  const float mean = args.mean[n], rstd = args.rstd[n];
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) {
    tile.normalized[i] = (tile.normalized[i] - mean) * rstd;
  }
}

// Adds to the row's sums of g = dy · weight and of g · normalized, and to the parameters'
// gradients. Columns beyond the row have dy = 0 and add nothing, as normalized is finite there.
__device__ __forceinline__ void AddTile(const Tile& tile, float (&means)[2],
                                        float (&dweight)[kTileValues],
                                        float (&dbias)[kTileValues]) {
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) {
    const float g = tile.dy[i] * tile.weight[i];
    means[0] += g;
    means[1] += g * tile.normalized[i];
    dweight[i] += tile.dy[i] * tile.normalized[i];
    dbias[i] += tile.dy[i];
  }
}

template <int kWidth, typename T>
__device__ __forceinline__ void StoreRow(const LayerNormBackwardArgs<T>& args,
                                         const DropoutParameters& dropout, int64_t n,
                                         int64_t column, const Tile& tile,
                                         const float (&means)[2]) {
  float dsum[kTileValues] = {};
  if (args.dsum_in != nullptr) {
    LoadTile<kWidth>(args.dsum_in + n * args.C, column, args.C, dsum);
  }
  const float rstd = args.rstd[n];
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) {
    const float g = tile.dy[i] * tile.weight[i];
    dsum[i] += (g - means[0] - tile.normalized[i] * means[1]) * rstd;
  }
  StoreTile<kWidth>(dsum, column, args.C, args.dsum + n * args.C);
  if (args.dx == nullptr) return;
  if (dropout.enabled()) DropOutTile<kWidth>(dropout, n, column, args.C, dsum);
  StoreTile<kWidth>(dsum, column, args.C, args.dx + n * args.C);
}

// Sums of the groups' sums, in order, by the first group; then the block's are in workspace.
__device__ void StoreParameterSums(const Plan& plan, const float (&dweight)[kTileValues],
                                   const float (&dbias)[kTileValues], float* partial) {
  __shared__ alignas(16) float of_warp[kWarps][2][kTileColumns];
  const int64_t tile = WarpIndex() % plan.warps_per_row;
  float sum[2][kTileValues];
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) sum[0][i] = dweight[i], sum[1][i] = dbias[i];
  if (plan.groups > 1) {
    StoreTileInOrder<true>(dweight, of_warp[WarpIndex()][0]);
    StoreTileInOrder<true>(dbias, of_warp[WarpIndex()][1]);
    __syncthreads();
    if (WarpIndex() >= plan.warps_per_row) return;
    for (int group = 1; group < plan.groups; ++group) {
#pragma unroll
      for (int which = 0; which < 2; ++which) {
        float other[kTileValues];
        LoadTileInOrder(of_warp[group * plan.warps_per_row + WarpIndex()][which], other);
#pragma unroll
        for (int i = 0; i < kTileValues; ++i) sum[which][i] += other[i];
      }
    }
  }
  StoreTileInOrder<false>(sum[0], partial + tile * kTileColumns);
  StoreTileInOrder<false>(sum[1], partial + (plan.tiles + tile) * kTileColumns);
}

template <typename T, int kWidth, int kBlockWarps>
__global__ void __launch_bounds__(kBlockWarps* kWarpSize, LeastBlocks(kBlockWarps))
    LayerNormBackwardKernel(LayerNormBackwardArgs<T> args, DropoutParameters dropout, Plan plan) {
  __shared__ WarpGroupSums<2> shared;
  const int64_t column = WarpIndex() % plan.warps_per_row * kTileColumns;
  const int64_t step = plan.warps_per_row * kTileColumns;
  float* partial = static_cast<float*>(args.workspace) + blockIdx.x * plan.floats_per_block;
  Tile tile;
  LoadTile<kWidth>(args.weight, column, args.C, tile.weight);
  float dweight[kTileValues] = {}, dbias[kTileValues] = {};
  const int rounds = static_cast<int>(plan.rows_per_block / plan.groups);
  for (int round = 0; round < rounds; ++round) {
    const int64_t n = blockIdx.x * plan.rows_per_block + static_cast<int64_t>(round) * plan.groups +
                      WarpIndex() / plan.warps_per_row;
    const bool there = n < args.N;  // others only come to the barrier
    float means[2] = {0, 0};
    if (there) {
      LoadRow<kWidth>(args, n, column, tile);
      AddTile(tile, means, dweight, dbias);
      for (int64_t more = column + step; kWidth == 1 && more < args.C; more += step) {
        float* sums = partial + more;
        float more_dweight[kTileValues] = {}, more_dbias[kTileValues] = {};
        if (round > 0) {
          LoadTileInOrder(sums, more_dweight);
          LoadTileInOrder(sums + plan.tiles * kTileColumns, more_dbias);
        }
        Tile more_tile;
        LoadTile<kWidth>(args.weight, more, args.C, more_tile.weight);
        LoadRow<kWidth>(args, n, more, more_tile);
        AddTile(more_tile, means, more_dweight, more_dbias);
        StoreTileInOrder<false>(more_dweight, sums);
        StoreTileInOrder<false>(more_dbias, sums + plan.tiles * kTileColumns);
      }
    }
    GroupSum(shared, plan.warps_per_row, round, means);
    if (!there) continue;
    means[0] /= static_cast<float>(args.C);
    means[1] /= static_cast<float>(args.C);
    StoreRow<kWidth>(args, dropout, n, column, tile, means);
    for (int64_t more = column + step; kWidth == 1 && more < args.C; more += step) {
      Tile more_tile;
      LoadTile<kWidth>(args.weight, more, args.C, more_tile.weight);
      LoadRow<kWidth>(args, n, more, more_tile);
      StoreRow<kWidth>(args, dropout, n, more, more_tile, means);
    }
  }
  StoreParameterSums(plan, dweight, dbias, partial);
}

}  // namespace

int64_t LayerNormBackwardWorkspaceBytes(int64_t N, int64_t C) {
  const Plan plan(N, C);
  // Not plan.blocks: fewer rows may be dealt out to more blocks.
  const int64_t most_blocks = std::min<int64_t>(kMostBlocks, CeilDiv(N, plan.groups));
  return most_blocks * plan.floats_per_block * static_cast<int64_t>(sizeof(float));
}

template <typename T>
absl::Status LayerNormBackward(const LayerNormBackwardArgs<T>& args, Stream stream) {
  CHECK(args.dx != nullptr || !args.dropout.enabled());
  if (args.dropout.enabled()) CHECK_GE(args.dropout.rows_per_sample, 1);
  CHECK_LT(args.N, int64_t{1} << 31);
  if (args.N == 0) return absl::OkStatus();
  const Plan plan(args.N, args.C);
  const bool fit = plan.tiles <= kMostWarpsPerRow &&
                   RowsFit<T>(kVectorWidth<T>, args.C,
                              {args.dy, args.dsum_in, args.sum, args.weight, args.dsum, args.dx});
  auto* const kernel = !fit ? LayerNormBackwardKernel<T, 1, kMostWarpsPerRow>
                       : plan.warps_per_row <= kWarps
                           ? LayerNormBackwardKernel<T, kVectorWidth<T>, kWarps>
                           : LayerNormBackwardKernel<T, kVectorWidth<T>, kMostWarpsPerRow>;
  RETURN_IF_ERROR(
      Launch("layer_norm backward", kernel,
             {.grid = dim3(static_cast<unsigned>(plan.blocks)),
              .block = dim3(static_cast<unsigned>(plan.groups * plan.warps_per_row * kWarpSize)),
              .stream = stream},
             args, MakeDropoutParameters(args.dropout), plan));
  return AddPartialSums("layer_norm backward, weight and bias",
                        {.partial = static_cast<const float*>(args.workspace),
                         .parts = plan.blocks,
                         .stride = plan.floats_per_block,
                         .total = {args.dweight, args.dbias},
                         .distance = plan.tiles * kTileColumns,
                         .columns = args.C,
                         .width = fit ? kVectorWidth<T> : 1},
                        stream);
}

template absl::Status LayerNormBackward(const LayerNormBackwardArgs<float>& args, Stream stream);
template absl::Status LayerNormBackward(const LayerNormBackwardArgs<bf16>& args, Stream stream);
template absl::Status LayerNormBackward(const LayerNormBackwardArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
