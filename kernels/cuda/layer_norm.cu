// LayerNorm forward. A row is held in the registers of one warp or of several of one block, so it
// is read once and written once. Up to 2048 columns a warp has one tile of 256 of them: registers
// are few, and a multiprocessor has the warps that hide its memory's latency. Up to 16384 a warp
// has four. Rows that are not aligned, or longer, take a kernel of their own, which reads again
// what is beyond the registers.
#include "kernels/api/layer_norm.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/row_dropout.cuh"

namespace sluice::cuda {
namespace {

constexpr int kMostTiles = 4;  // of 256 columns, that a warp keeps of its row
// Warps of a block, of which a row may have all; and blocks that a multiprocessor has to hold.
constexpr int MostWarps(int tiles) { return tiles == 1 ? 8 : 16; }
constexpr int LeastBlocks(int width, int tiles) { return width == 1 ? 3 : tiles == 1 ? 6 : 1; }

// A warp's part of a row: every warps-th tile. In vectors (kWidth > 1) all of it is in registers.
template <int kWidth, int kCachedTiles>
struct PartOfRow {
  int64_t columns, first, step;
  float cached[kCachedTiles][kTileValues];

  // body(value, column of the tile) for each tile, which fills in the values.
  template <typename Body>
  __device__ __forceinline__ void Fill(const Body& body) {
    ForEachCached(body);
    if constexpr (kWidth == 1) {
      for (int64_t column = first + kCachedTiles * step; column < columns; column += step) {
        float value[kTileValues];
        body(value, column);
      }
    }
  }
  // body(value, column of the tile) for each tile; `row` is where those beyond the cached ones are.
  template <typename T, typename Body>
  __device__ __forceinline__ void ForEach(const T* row, const Body& body) {
    ForEachCached(body);
    if constexpr (kWidth == 1) {
      for (int64_t column = first + kCachedTiles * step; column < columns; column += step) {
        float value[kTileValues];
        LoadTile<kWidth>(row, column, columns, value);
        body(value, column);
      }
    }
  }

 private:
  template <typename Body>
  __device__ __forceinline__ void ForEachCached(const Body& body) {
#pragma unroll
    for (int tile = 0; tile < kCachedTiles; ++tile) {
      const int64_t column = first + tile * step;
      if (column < columns) body(cached[tile], column);
    }
  }
};

// residual + dropout(x), rounded to T and stored where there is a sum.
template <int kWidth, typename T>
__device__ __forceinline__ void SumTile(const LayerNormForwardArgs<T>& args,
                                        const DropoutParameters& dropout, int64_t n, int64_t column,
                                        float (&value)[kTileValues]) {
  LoadTile<kWidth>(args.x + n * args.C, column, args.C, value);
  if (args.sum == nullptr) return;
  if (dropout.enabled()) DropOutTile<kWidth>(dropout, n, column, args.C, value);
  if (args.residual != nullptr) {
    float residual[kTileValues];
    LoadTile<kWidth>(args.residual + n * args.C, column, args.C, residual);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) value[i] += residual[i];
  }
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) value[i] = ToFloat(FromFloat<T>(value[i]));
  StoreTile<kWidth>(value, column, args.C, args.sum + n * args.C);
}

template <typename T, int kWidth, int kTiles>
__global__ void __launch_bounds__(MostWarps(kTiles) * kWarpSize, LeastBlocks(kWidth, kTiles))
    LayerNormForwardKernel(LayerNormForwardArgs<T> args, DropoutParameters dropout,
                           int warps_per_row) {
  __shared__ WarpGroupSums<2> shared;
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  const int64_t n =
      static_cast<int64_t>(blockIdx.x) * (warps / warps_per_row) + WarpIndex() / warps_per_row;
  const bool there = n < args.N;  // others only come to the barriers
  PartOfRow<kWidth, kTiles> part = {.columns = there ? args.C : 0,
                                    .first = WarpIndex() % warps_per_row * kTileColumns,
                                    .step = warps_per_row * kTileColumns};
  float total[2] = {0, 0};
  part.Fill([&](float(&value)[kTileValues], int64_t column) {
    SumTile<kWidth>(args, dropout, n, column, value);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) total[0] += value[i];
  });
  GroupSum(shared, warps_per_row, 0, total);
  const T* row = (args.sum == nullptr ? args.x : args.sum) + n * args.C;
  const auto columns = static_cast<float>(args.C);
  const float first_mean = total[0] / columns;

  // Corrected two-pass statistics (Chan, Golub and LeVeque 1983): the second pass also sums the
  // deviations, which repairs the rounding of the first mean.
  float deviations[2] = {0, 0};  // their sum, and that of their squares
  part.ForEach(row, [&](float(&value)[kTileValues], int64_t column) {
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) {
      const bool inside = column + TileColumn<kWidth>(LaneIndex(), i) < args.C;
      const float deviation = inside ? value[i] - first_mean : 0;
      deviations[0] += deviation;
      deviations[1] += deviation * deviation;
    }
  });
  GroupSum(shared, warps_per_row, 1, deviations);
  const float correction = deviations[0] / columns;
  const float variance = deviations[1] / columns - correction * correction;
  const float mean = first_mean + correction;
  const float rstd = 1 / sqrtf(fmaxf(variance, 0.0f) + args.eps);
  if (there && threadIdx.x % (warps_per_row * kWarpSize) == 0) {
    if (args.mean != nullptr) args.mean[n] = mean;
    if (args.rstd != nullptr) args.rstd[n] = rstd;
  }

  part.ForEach(row, [&](float(&value)[kTileValues], int64_t column) {
    float weight[kTileValues], bias[kTileValues];
    LoadTile<kWidth>(args.weight, column, args.C, weight);
    LoadTile<kWidth>(args.bias, column, args.C, bias);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) {
      value[i] = (value[i] - mean) * rstd * weight[i] + bias[i];
    }
    StoreTile<kWidth>(value, column, args.C, args.y + n * args.C);
  });
}

}  // namespace

template <typename T>
absl::Status LayerNormForward(const LayerNormForwardArgs<T>& args, Stream stream) {
  CHECK(args.sum != nullptr || (args.residual == nullptr && !args.dropout.enabled()));
  if (args.dropout.enabled()) CHECK_GE(args.dropout.rows_per_sample, 1);
  CHECK_LT(args.N, int64_t{1} << 31);
  const bool few = args.C <= MostWarps(1) * kTileColumns;
  const bool fit = args.C <= MostWarps(kMostTiles) * kMostTiles * kTileColumns &&
                   RowsFit<T>(kVectorWidth<T>, args.C,
                              {args.x, args.residual, args.weight, args.bias, args.sum, args.y});
  const int tiles = few || !fit ? 1 : kMostTiles;
  const int warps_per_row = static_cast<int>(
      std::clamp<int64_t>(CeilDiv(args.C, tiles * kTileColumns), 1, MostWarps(tiles)));
  const int rows = std::max(1, MostWarps(1) / warps_per_row);  // of a block
  auto* const kernel = !fit  ? LayerNormForwardKernel<T, 1, 1>
                       : few ? LayerNormForwardKernel<T, kVectorWidth<T>, 1>
                             : LayerNormForwardKernel<T, kVectorWidth<T>, kMostTiles>;
  return Launch("layer_norm forward", kernel,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(args.N, rows))),
                 .block = dim3(static_cast<unsigned>(rows * warps_per_row * kWarpSize)),
                 .stream = stream},
                args, MakeDropoutParameters(args.dropout), warps_per_row);
}

template absl::Status LayerNormForward(const LayerNormForwardArgs<float>& args, Stream stream);
template absl::Status LayerNormForward(const LayerNormForwardArgs<bf16>& args, Stream stream);
template absl::Status LayerNormForward(const LayerNormForwardArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
