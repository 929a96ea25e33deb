// LayerNorm forward of rows that a kernel makes on its way. A row is held in the registers of one
// warp or of several of one block, so it is read once and written once. Up to 2048 columns a warp
// has one tile of 256 of them: registers are few, and a multiprocessor has the warps that hide its
// memory's latency. Up to 16384 a warp has four. Rows that are not aligned, or longer, take a
// kernel of their own, which reads again what is beyond the registers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "core/integer_math.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace sluice::cuda {

constexpr int kMostNormTiles = 4;  // of 256 columns, that a warp keeps of its row
// Warps of a block, of which a row may have all; and blocks that a multiprocessor has to hold.
constexpr int MostNormWarps(int tiles) { return tiles == 1 ? 8 : 16; }
constexpr int LeastNormBlocks(int width, int tiles) { return width == 1 ? 3 : tiles == 1 ? 6 : 1; }

// As storing and loading the tile again would.
template <typename T>
__device__ __forceinline__ void RoundTile(float (&value)[kTileValues]) {
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) value[i] = ToFloat(FromFloat<T>(value[i]));
}

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

// The row that a warp has a part of; there are none from N on, whose warps only come to barriers.
__device__ __forceinline__ int64_t NormRow(int warps_per_row) {
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  return static_cast<int64_t>(blockIdx.x) * (warps / warps_per_row) + WarpIndex() / warps_per_row;
}

template <typename T>
struct NormRows {
  const T* sum;  // (N, C): where a row's tiles beyond the registers are read again
  const T* weight;
  const T* bias;
  T* y;
  float* mean;  // null: not kept
  float* rstd;
  int64_t N, C;
  float eps;
};

// make(value, column): the tile of the sum of row n, rounded to T, and stored where it will be read
// again. finish(value, column): what is done to the tile of y before it is stored.
template <int kWidth, int kTiles, typename T, typename Make, typename Finish>
__device__ __forceinline__ void NormalizeRow(const NormRows<T>& rows, int64_t n, int warps_per_row,
                                             const Make& make, const Finish& finish) {
  __shared__ WarpGroupSums<2> shared;
  const bool there = n < rows.N;
  PartOfRow<kWidth, kTiles> part = {.columns = there ? rows.C : 0,
                                    .first = WarpIndex() % warps_per_row * kTileColumns,
                                    .step = warps_per_row * kTileColumns};
  float total[2] = {0, 0};
  part.Fill([&](float(&value)[kTileValues], int64_t column) {
    make(value, column);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) total[0] += value[i];
  });
  GroupSum(shared, warps_per_row, 0, total);
  const T* row = rows.sum + n * rows.C;
  const auto columns = static_cast<float>(rows.C);
  const float first_mean = total[0] / columns;

  // Corrected two-pass statistics (Chan, Golub and LeVeque 1983): the second pass also sums the
  // deviations, which repairs the rounding of the first mean.
  float deviations[2] = {0, 0};  // their sum, and that of their squares
  part.ForEach(row, [&](float(&value)[kTileValues], int64_t column) {
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) {
      const bool inside = column + TileColumn<kWidth>(LaneIndex(), i) < rows.C;
      const float deviation = inside ? value[i] - first_mean : 0;
      deviations[0] += deviation;
      deviations[1] += deviation * deviation;
    }
  });
  GroupSum(shared, warps_per_row, 1, deviations);
  const float correction = deviations[0] / columns;
  const float variance = deviations[1] / columns - correction * correction;
  const float mean = first_mean + correction;
  const float rstd = 1 / sqrtf(fmaxf(variance, 0.0f) + rows.eps);
  if (there && threadIdx.x % (warps_per_row * kWarpSize) == 0) {
    if (rows.mean != nullptr) rows.mean[n] = mean;
    if (rows.rstd != nullptr) rows.rstd[n] = rstd;
  }

  part.ForEach(row, [&](float(&value)[kTileValues], int64_t column) {
    float weight[kTileValues], bias[kTileValues];
    LoadTile<kWidth>(rows.weight, column, rows.C, weight);
    LoadTile<kWidth>(rows.bias, column, rows.C, bias);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) {
      value[i] = (value[i] - mean) * rstd * weight[i] + bias[i];
    }
    finish(value, column);
    StoreTile<kWidth>(value, column, rows.C, rows.y + n * rows.C);
  });
}

// Which of a kernel's instances runs, and on how many warps.
struct NormLaunch {
  bool fit;  // <T, kVectorWidth<T>, …>; else <T, 1, 1>
  bool few;  // <…, 1>; else <…, kMostNormTiles>
  int warps_per_row;
  int rows;  // of a block

  LaunchShape Shape(int64_t N, Stream stream) const {
    return {.grid = dim3(static_cast<unsigned>(CeilDiv(N, rows))),
            .block = dim3(static_cast<unsigned>(rows * warps_per_row * kWarpSize)),
            .stream = stream};
  }
};

// For rows of C columns that begin at `pointers`.
template <typename T>
NormLaunch PlanNormLaunch(int64_t C, std::initializer_list<const void*> pointers) {
  const bool few = C <= MostNormWarps(1) * kTileColumns;
  const bool fit = C <= MostNormWarps(kMostNormTiles) * kMostNormTiles * kTileColumns &&
                   RowsFit<T>(kVectorWidth<T>, C, pointers);
  const int tiles = few || !fit ? 1 : kMostNormTiles;
  const int warps_per_row = static_cast<int>(
      std::clamp<int64_t>(CeilDiv(C, tiles * kTileColumns), 1, MostNormWarps(tiles)));
  return {.fit = fit,
          .few = few,
          .warps_per_row = warps_per_row,
          .rows = std::max(1, MostNormWarps(1) / warps_per_row)};
}

}  // namespace sluice::cuda
