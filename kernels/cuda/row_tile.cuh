// Rows of memory in a warp's registers. A warp takes a row in tiles of 32 lanes x kValues columns.
// Storage is converted to float on the way in and rounded on the way out.
//
// A lane's values come in groups of kWidth neighbours, and the groups of neighbouring lanes lie
// side by side, so that one access of the warp is one contiguous piece of the row. kWidth is
// kVectorWidth<T> (16 bytes a lane) where alignment allows it, else 1: RowsFit() decides at the
// launch. Kernels that read T and write float take 4, so that both are contiguous.
//
//   float value[8];                                      // 256 columns a warp
//   LoadTile<kWidth>(x + n * C, first_column, C, value); // zeros beyond column C
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/device_primitives.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {

constexpr int kTileValues = 8;                         // a lane's, where nothing else is said
constexpr int kTileColumns = kWarpSize * kTileValues;  // and the warp's

__device__ __forceinline__ int LaneIndex() { return static_cast<int>(threadIdx.x % kWarpSize); }
__device__ __forceinline__ int WarpIndex() { return static_cast<int>(threadIdx.x / kWarpSize); }

// Column within the tile of a lane's value i.
template <int kWidth>
__device__ __forceinline__ constexpr int TileColumn(int lane, int i) {
  return i / kWidth * (kWarpSize * kWidth) + lane * kWidth + i % kWidth;
}

// The tile of `row` that begins at column `first`, in a row of `columns` columns. kWidth divides
// `columns`, so that a group is inside or outside as a whole.
template <int kWidth, typename T, int kValues>
__device__ __forceinline__ void LoadTile(const T* row, int64_t first, int64_t columns,
                                         float (&value)[kValues]) {
#pragma unroll
  for (int i = 0; i < kValues; i += kWidth) {
    const int64_t column = first + TileColumn<kWidth>(LaneIndex(), i);
    float group[kWidth] = {};
    if (column < columns) LoadFloats(row + column, group);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) value[i + j] = group[j];
  }
}
template <int kWidth, typename T, int kValues>
__device__ __forceinline__ void StoreTile(const float (&value)[kValues], int64_t first,
                                          int64_t columns, T* row) {
#pragma unroll
  for (int i = 0; i < kValues; i += kWidth) {
    const int64_t column = first + TileColumn<kWidth>(LaneIndex(), i);
    float group[kWidth];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) group[j] = value[i + j];
    if (column < columns) StoreFloats(group, row + column);
  }
}

// Whether rows of `stride` values of T, beginning at `pointers`, can be read and written in groups
// of `width`: every row of each begins at a multiple of a group's bytes. Null pointers fit.
template <typename T>
bool RowsFit(int width, int64_t stride, std::initializer_list<const void*> pointers) {
  return stride % width == 0 && AreAligned(pointers, width * static_cast<int64_t>(sizeof(T)));
}

}  // namespace sluice::cuda
