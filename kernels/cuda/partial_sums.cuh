// Second stage of sums over rows: blocks of rows have left partial sums in workspace, and these are
// added up in order, so that the result has the same bits in every run.
#pragma once

#include <cstdint>

#include "core/integer_math.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace sluice::cuda {

//   total[column] += Σ over parts of partial[part · stride + position]
// for up to two totals, whose partial sums lie `distance` apart. `width` 0: position is column.
// Else the partial sums were stored by StoreTileInOrder, from rows loaded in vectors of that width.
struct PartialSums {
  const float* partial;
  int64_t parts, stride;
  float* total[2];  // (columns) each; the second may be null
  int64_t distance;
  int64_t columns;
  int width = 0;
};

// How a warp leaves its tile of floats: all its lanes' values 0 … 3, then 4 … 7, so that each store
// of 16 bytes a lane is contiguous whatever columns the values belong to.
template <bool kShared>  // memory; else global
__device__ __forceinline__ void StoreTileInOrder(const float (&value)[kTileValues], float* tile) {
#pragma unroll
  for (int i = 0; i < kTileValues; i += 4) {
    const float four[4] = {value[i], value[i + 1], value[i + 2], value[i + 3]};
    float* to = tile + i * kWarpSize + LaneIndex() * 4;
    if constexpr (kShared) {
      *reinterpret_cast<float4*>(to) = make_float4(four[0], four[1], four[2], four[3]);
    } else {
      StoreFloats(four, to);
    }
  }
}
__device__ __forceinline__ void LoadTileInOrder(const float* tile, float (&value)[kTileValues]) {
#pragma unroll
  for (int i = 0; i < kTileValues; i += 4) {
    float four[4];
    LoadFloats(tile + i * kWarpSize + LaneIndex() * 4, four);
#pragma unroll
    for (int j = 0; j < 4; ++j) value[i + j] = four[j];
  }
}
// Where a column of the tile is; `width` is that of the vectors in which the row was loaded.
__device__ __forceinline__ int PositionInTile(int column, int width) {
  const int lane = column % (kWarpSize * width) / width;
  const int i = column / (kWarpSize * width) * width + column % width;
  return i / 4 * (4 * kWarpSize) + lane * 4 + i % 4;
}

constexpr int kPartialSumRows = 8;  // of the block: each adds every 8th part

// Block (32, 8), grid (columns / 32, totals).
static __global__ void __launch_bounds__(kWarpSize* kPartialSumRows)
    AddPartialSumsKernel(PartialSums sums) {
  __shared__ float of_row[kPartialSumRows][kWarpSize];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarpSize + threadIdx.x;
  int64_t position = column;
  if (sums.width > 0) {
    const int64_t first = column / kTileColumns * kTileColumns;
    position = first + PositionInTile(static_cast<int>(column - first), sums.width);
  }
  float sum = 0;
  if (column < sums.columns) {
    const float* partial = sums.partial + blockIdx.y * sums.distance + position;
#pragma unroll 4
    for (int64_t part = threadIdx.y; part < sums.parts; part += kPartialSumRows) {
      sum += partial[part * sums.stride];
    }
  }
  of_row[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= sums.columns) return;
  for (int row = 1; row < kPartialSumRows; ++row) sum += of_row[row][threadIdx.x];
  float* total = blockIdx.y == 0 ? sums.total[0] : sums.total[1];
  total[column] += sum;
}

inline absl::Status AddPartialSums(const char* name, const PartialSums& sums, Stream stream) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(sums.columns, kWarpSize)),
                  sums.total[1] == nullptr ? 1 : 2);
  return Launch(name, AddPartialSumsKernel,
                {.grid = grid, .block = dim3(kWarpSize, kPartialSumRows), .stream = stream}, sums);
}

}  // namespace sluice::cuda
