// The two products of attention's tiles, for one warp and its 16 rows: on tensor cores for bf16 and
// fp16, by FMA for float, with the same layout of sums (tensor_core.cuh), so that what lies between
// the products is one text for all types.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/tensor_core.cuh"

namespace sluice::cuda {

// Tiles of rows of D elements in shared memory.
template <typename T, int D>
using TileRows = SwizzledRows<D* static_cast<int>(sizeof(T))>;

// Sums of a warp: 16 rows × kColumns.
template <int kColumns>
struct Sums {
  float values[kColumns / 8][4];

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) values[n][e] = 0;
    }
  }
  // values of row g times first, those of row g + 8 times second.
  __device__ __forceinline__ void ScaleRows(float first, float second) {
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) values[n][e] *= e < 2 ? first : second;
    }
  }
};

// What float reads: one chunk, or two neighbouring elements, of a row.
template <int D>
__device__ __forceinline__ float4 ReadChunk(const unsigned char* tile, int row, int chunk) {
  return *reinterpret_cast<const float4*>(tile + TileRows<float, D>::Offset(row, chunk));
}
template <int D>
__device__ __forceinline__ float2 ReadPair(const unsigned char* tile, int row, int column) {
  return *reinterpret_cast<const float2*>(tile + TileRows<float, D>::Offset(row, column / 4) +
                                          column % 4 * 4);
}
__device__ __forceinline__ float AddDot(float sum, const float4& a, const float4& b) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// sums (16 × kColumns) = a · bᵀ over D: rows first_row … + 15 of tile a, rows 0 … kColumns - 1 of
// tile b.
template <typename T, int D, int kColumns>
__device__ __forceinline__ void MultiplyByRows(Sums<kColumns>& sums, const unsigned char* a,
                                               int first_row, const unsigned char* b) {
  const int lane = ComputedAnew(static_cast<int>(threadIdx.x) % 32);
  using Rows = TileRows<T, D>;
  sums.Clear();
  if constexpr (sizeof(T) == 4) {
    const int row = first_row + lane / 4, column = lane % 4 * 2;
#pragma unroll 2
    for (int chunk = 0; chunk < D / 4; ++chunk) {
      const float4 upper = ReadChunk<D>(a, row, chunk), lower = ReadChunk<D>(a, row + 8, chunk);
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float4 other = ReadChunk<D>(b, 8 * n + column + e, chunk);
          sums.values[n][e] = AddDot(sums.values[n][e], upper, other);
          sums.values[n][2 + e] = AddDot(sums.values[n][2 + e], lower, other);
        }
      }
    }
  } else {
    const uint32_t a_lane = SharedAddress(a) + Rows::Offset(first_row + lane % 16, lane / 16);
    const uint32_t b_lane = SharedAddress(b) + Rows::Offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      uint32_t left[4];  // rows g and g + 8, of columns 16k and 16k + 8
      LoadMatrices(left, Rows::Further(a_lane, 2 * k));
#pragma unroll
      for (int n = 0; n < kColumns / 8; n += 2) {
        uint32_t right[4];  // rows 8n: columns 16k, 16k + 8; rows 8n + 8: the same
        LoadMatrices(right, Rows::Further(b_lane, 2 * k) + 8 * n * Rows::kBytes);
        MultiplyAccumulate<T>(sums.values[n], left, right[0], right[1]);
        MultiplyAccumulate<T>(sums.values[n + 1], left, right[2], right[3]);
      }
    }
  }
}

// sums (16 × kColumns) += weights (16 × kRows, rounded to T) · b: rows 0 … kRows - 1 of tile b,
// whose rows have D columns; kColumns of them, from whole 128 bytes on, when b points there.
template <typename T, int D, int kColumns, int kRows>
__device__ __forceinline__ void AddWeightedRows(Sums<kColumns>& sums, const Sums<kRows>& weights,
                                                const unsigned char* b) {
  const int lane = ComputedAnew(static_cast<int>(threadIdx.x) % 32);
  using Rows = TileRows<T, D>;
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int n = 0; n < kRows / 8; ++n) {
#pragma unroll 1
      for (int holder = 0; holder < 4; ++holder) {  // of the four lanes that share rows
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float upper = __shfl_sync(~0u, weights.values[n][e], lane / 4 * 4 + holder);
          const float lower = __shfl_sync(~0u, weights.values[n][2 + e], lane / 4 * 4 + holder);
#pragma unroll
          for (int m = 0; m < kColumns / 8; ++m) {
            const float2 pair = ReadPair<D>(b, 8 * n + 2 * holder + e, 8 * m + lane % 4 * 2);
            sums.values[m][0] = fmaf(upper, pair.x, sums.values[m][0]);
            sums.values[m][1] = fmaf(upper, pair.y, sums.values[m][1]);
            sums.values[m][2] = fmaf(lower, pair.x, sums.values[m][2]);
            sums.values[m][3] = fmaf(lower, pair.y, sums.values[m][3]);
          }
        }
      }
    }
  } else {
    const uint32_t b_lane = SharedAddress(b) + Rows::Offset(lane % 16, lane / 16);
#pragma unroll
    for (int k = 0; k < kRows / 16; ++k) {
      const auto& first = weights.values[2 * k];
      const auto& second = weights.values[2 * k + 1];
      const uint32_t left[4] = {PackPair<T>(first[0], first[1]), PackPair<T>(first[2], first[3]),
                                PackPair<T>(second[0], second[1]),
                                PackPair<T>(second[2], second[3])};
#pragma unroll
      for (int m = 0; m < kColumns / 8; m += 2) {
        uint32_t right[4];  // columns 8m: rows 16k, 16k + 8; columns 8m + 8: the same
        LoadMatricesTransposed(right, Rows::Further(b_lane, m) + 16 * k * Rows::kBytes);
        MultiplyAccumulate<T>(sums.values[m], left, right[0], right[1]);
        MultiplyAccumulate<T>(sums.values[m + 1], left, right[2], right[3]);
      }
    }
  }
}

}  // namespace sluice::cuda
