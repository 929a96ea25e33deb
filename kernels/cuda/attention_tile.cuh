// What all attention kernels do with tiles: their sizes, loading and storing them, and masks on a
// warp's sums.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/attention_problem.cuh"
#include "kernels/cuda/attention_product.cuh"
#include "kernels/cuda/storage.cuh"

namespace sluice::cuda {

// Rows of the tile that a block owns (16 a warp) and of those that pass by in two stages: as many
// as fit a warp's registers, and the 99 KiB of shared memory that a block has on every architecture
// from sm_80 on. Where the sums of all columns do not fit the registers either, several blocks
// (of the grid's y) share a tile, each with kSumColumns of them.
template <typename T, int D>
struct TileSizes {
  static constexpr int kRowBytes = D * static_cast<int>(sizeof(T));
  static constexpr int kForwardRows = kRowBytes <= 512 ? 64 : 32;
  static constexpr int kForwardPassing = kRowBytes <= 256 ? 64 : kRowBytes <= 512 ? 32 : 16;
  static constexpr int kBackwardRows = kRowBytes <= 512 ? 64 : 16;
  static constexpr int kBackwardPassing = kRowBytes <= 160 ? 64 : kRowBytes <= 256 ? 32 : 16;
  static constexpr int kColumnParts = kRowBytes <= 512 ? 1 : 2;
  static constexpr int kSumColumns = D / kColumnParts;
};

// Where the sums of a part of the columns begin, and those of a tile in shared memory.
template <typename T, int D>
__device__ __forceinline__ int FirstColumnOfPart(int part) {
  return TileSizes<T, D>::kColumnParts == 1 ? 0 : part * TileSizes<T, D>::kSumColumns;
}
template <typename T>
__device__ __forceinline__ const unsigned char* ColumnsFrom(const unsigned char* tile, int column) {
  return tile + column * static_cast<int>(sizeof(T));
}

// Blocks that a multiprocessor has to hold, of every attention kernel. Said though it is the least:
// left to itself ptxas spills a few registers for one block more.
constexpr int kBlocksAtLeast = 1;

// What a block of a grid of tiles of heads of rows works on, whatever its y.
struct HeadTile {
  int b, h, tile;

  __device__ __forceinline__ HeadTile(int tiles, int heads)
      : b(static_cast<int>(blockIdx.x) / tiles / heads),
        h(static_cast<int>(blockIdx.x) / tiles % heads),
        tile(static_cast<int>(blockIdx.x) % tiles) {}
};

// A lane's place in the sums of its warp (tensor_core.cuh).
__device__ __forceinline__ int LaneRow() { return static_cast<int>(threadIdx.x) % 32 / 4; }
__device__ __forceinline__ int LaneColumn() { return static_cast<int>(threadIdx.x) % 4 * 2; }

// Sum and maximum over the four lanes that share rows; each gets the same bits.
__device__ __forceinline__ float SumOfRow(float value) {
  value += __shfl_xor_sync(~0u, value, 1);
  return value + __shfl_xor_sync(~0u, value, 2);
}
__device__ __forceinline__ float MaximumOfRow(float value) {
  value = fmaxf(value, __shfl_xor_sync(~0u, value, 1));
  return fmaxf(value, __shfl_xor_sync(~0u, value, 2));
}

// Where the rows of tiles lie in global memory. Rows [0, limit) are there; others are zeros in
// tiles, so that what lies in padding is not even multiplied by zero.
template <typename T>
struct RowSource {
  const T* rows;  // row `extra` …
  int64_t stride;
  const T* extra_row;  // row 0, where extra is 1: the sink token's
  int extra;
  int limit;
  int columns;
  bool vector;         // every row begins at a multiple of 16 bytes, and columns are whole chunks
  const float* gates;  // of row `extra`, by channel, multiplied in; null: none
  int64_t gate_stride;

  __device__ const T* Row(int row) const {
    return row < extra ? extra_row : rows + (row - extra) * stride;
  }
};

// Rows of q, k or v of a head.
template <typename T>
__device__ __forceinline__ RowSource<T> TokenRows(const AttentionProblem<T>& problem, const T* rows,
                                                  int b, int h, int limit) {
  return {.rows = rows + problem.TokenOffset(b, 0, h),
          .stride = problem.qkv_stride,
          .extra_row = nullptr,
          .extra = 0,
          .limit = limit,
          .columns = problem.D,
          .vector = problem.vector_qkv,
          .gates = nullptr,
          .gate_stride = static_cast<int64_t>(problem.H) * problem.D};
}
template <typename T>
__device__ __forceinline__ const float* ChannelGates(const AttentionProblem<T>& problem, int b,
                                                     int h) {
  return problem.gate + problem.HeadIndex(b, 0, h) * problem.D;
}
// Rows of keys, the sink token's first; those of values times the gates of their channels.
template <typename T>
__device__ __forceinline__ RowSource<T> KeyRows(const AttentionProblem<T>& problem, int b, int h,
                                                int limit) {
  RowSource<T> source = TokenRows(problem, problem.k, b, h, limit);
  source.extra = problem.sink_tokens;
  source.extra_row = problem.sink_key + static_cast<int64_t>(h) * problem.D;
  return source;
}
template <typename T>
__device__ __forceinline__ RowSource<T> ValueRows(const AttentionProblem<T>& problem, int b, int h,
                                                  int limit) {
  RowSource<T> source = TokenRows(problem, problem.v, b, h, limit);
  source.extra = problem.sink_tokens;
  source.extra_row = problem.sink_value + static_cast<int64_t>(h) * problem.D;
  if (problem.GatesKeys() && problem.per_channel) source.gates = ChannelGates(problem, b, h);
  return source;
}
// The gate of a key, per head; sink and padding have none.
template <typename T>
__device__ __forceinline__ float KeyGate(const AttentionProblem<T>& problem, int b, int h, int key,
                                         int limit) {
  const int j = key - problem.sink_tokens;
  return j < 0 || key >= limit ? 1 : problem.gate[problem.HeadIndex(b, j, h)];
}

// Those of keys key0 …, by the whole block.
template <int kKeys, int kThreads, typename T>
__device__ __forceinline__ void LoadKeyGates(float (&gates)[kKeys],
                                             const AttentionProblem<T>& problem, int b, int h,
                                             int key0, int limit) {
  for (int k = static_cast<int>(threadIdx.x); k < kKeys; k += kThreads) {
    gates[k] = KeyGate(problem, b, h, key0 + k, limit);
  }
}

// A chunk of 16 bytes of a row, element by element, gated by channel where there are gates.
template <typename T>
__device__ __forceinline__ uint4 GatherChunk(const RowSource<T>& source, int row, int column) {
  constexpr int kElements = 16 / static_cast<int>(sizeof(T));
  union {
    uint4 chunk;
    T elements[kElements];
  } result;
  result.chunk = make_uint4(0, 0, 0, 0);
  const T* from = source.Row(row) + column;
  const float* gates = source.gates == nullptr || row < source.extra
                           ? nullptr
                           : source.gates + (row - source.extra) * source.gate_stride + column;
#pragma unroll
  for (int e = 0; e < kElements; ++e) {
    if (column + e >= source.columns) continue;
    result.elements[e] = gates == nullptr ? from[e] : FromFloat<T>(ToFloat(from[e]) * gates[e]);
  }
  return result.chunk;
}

// Rows first … first + kRows - 1 into a tile, by all kThreads. In the background where the layout
// allows (CommitCopies, WaitForCopies, barrier), else at once.
template <typename T, int D, int kRows, int kThreads>
__device__ __forceinline__ void LoadTile(unsigned char* tile, const RowSource<T>& source,
                                         int first) {
  using Rows = TileRows<T, D>;
  constexpr int kElements = 16 / static_cast<int>(sizeof(T));
  const bool in_background = source.vector && source.gates == nullptr;
  const uint32_t address = SharedAddress(tile);
#pragma unroll 1
  for (int c = static_cast<int>(threadIdx.x); c < kRows * Rows::kChunks; c += kThreads) {
    const int row = c / Rows::kChunks, chunk = c % Rows::kChunks, column = chunk * kElements;
    const bool there = first + row < source.limit && column < source.columns;
    if (in_background) {
      const T* from = there ? source.Row(first + row) + column : source.rows;
      CopyAsync(address + Rows::Offset(row, chunk), from, there);
    } else {
      *reinterpret_cast<uint4*>(tile + Rows::Offset(row, chunk)) =
          there ? GatherChunk(source, first + row, column) : make_uint4(0, 0, 0, 0);
    }
  }
}

// Where rows of results go; only rows [begin, limit) are written.
template <typename T>
struct RowTarget {
  T* rows;  // row 0
  int64_t stride;
  int begin, limit;
  int columns;
  bool vector;

  // The columns from `first` on.
  __device__ RowTarget From(int first) const {
    return {rows + first, stride, begin, limit, columns - first, vector};
  }
};

// A warp's sums, rounded, to rows first + warp_row …: by way of its own 16 rows of a tile that it
// alone still reads, so that global memory is written by whole chunks.
template <typename T, int D>
__device__ __forceinline__ void StoreSums(const Sums<D>& sums, unsigned char* tile, int warp_row,
                                          const RowTarget<T>& target, int first) {
  using Rows = TileRows<T, D>;
  constexpr int kElements = 16 / static_cast<int>(sizeof(T));
  __syncwarp();
#pragma unroll
  for (int m = 0; m < D / 8; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + LaneRow() + 8 * half, column = 8 * m + LaneColumn();
      unsigned char* at = tile + Rows::Offset(row, column / kElements) +
                          column % kElements * static_cast<int>(sizeof(T));
      const float low = sums.values[m][2 * half], high = sums.values[m][2 * half + 1];
      if constexpr (sizeof(T) == 4) {
        *reinterpret_cast<float2*>(at) = make_float2(low, high);
      } else {
        *reinterpret_cast<uint32_t*>(at) = PackPair<T>(low, high);
      }
    }
  }
  __syncwarp();
#pragma unroll 2
  for (int c = static_cast<int>(threadIdx.x) % 32; c < 16 * Rows::kChunks; c += 32) {
    const int row = warp_row + c / Rows::kChunks, column = c % Rows::kChunks * kElements;
    const int to = first + row;
    if (to < target.begin || to >= target.limit || column >= target.columns) continue;
    const unsigned char* from = tile + Rows::Offset(row, column / kElements);
    T* at = target.rows + to * target.stride + column;
    if (target.vector) {
      *reinterpret_cast<uint4*>(at) = *reinterpret_cast<const uint4*>(from);
    } else {
      for (int e = 0; e < min(kElements, target.columns - column); ++e) {
        at[e] = reinterpret_cast<const T*>(from)[e];
      }
    }
  }
}

// Scores to exponents of two, -infinity where a key is masked. i0, key0: of the warp's first row or
// column; kKeysAreRows: rows are keys and columns queries.
template <bool kKeysAreRows, int kColumns>
__device__ __forceinline__ void ScaleAndMask(Sums<kColumns>& scores, float scale_of_two,
                                             const RowMask& mask, TileView view, int i0, int key0) {
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) scores.values[n][e] *= scale_of_two;
  }
  if (view == TileView::kAll) return;
  const int lane = ComputedAnew(static_cast<int>(threadIdx.x) % 32);
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int row = lane / 4 + e / 2 * 8, column = 8 * n + lane % 4 * 2 + e % 2;
      const bool sees =
          kKeysAreRows ? mask.Sees(i0 + column, key0 + row) : mask.Sees(i0 + row, key0 + column);
      if (!sees) scores.values[n][e] = -INFINITY;
    }
  }
}

}  // namespace sluice::cuda
