// The rows that a row of the sum of embeddings is made of (kernels/api/embedding.h).
#pragma once

#include <cstdint>

#include "core/check.h"
#include "kernels/api/embedding.h"
#include "kernels/cuda/row_tile.cuh"

namespace sluice::cuda {

template <typename T>
struct EmbeddingRows {
  const T* first = nullptr;  // what the others, where there are any, are added to
  const T* position = nullptr;
  const T* segment = nullptr;

  EmbeddingRows() = default;
  // Of row `row` of the sum; rows are fewer than 2^31, and 32-bit division is far cheaper.
  __device__ __forceinline__ EmbeddingRows(const EmbeddingForwardArgs<T>& args, int64_t row) {
    const auto length = static_cast<uint32_t>(args.R + args.T_);
    const int64_t b = static_cast<uint32_t>(row) / length;
    const int64_t i = static_cast<uint32_t>(row) % length;
    if (i < args.R) {
      first = args.register_table + i * args.C;
      return;
    }
    const int64_t t = i - args.R, n = b * args.T_ + t;
    first = args.token_table != nullptr ? args.token_table + args.tokens[n] * args.C
                                        : args.projected + n * args.C;
    position = args.position_table + (args.position_offset + t) * args.C;
    if (args.segment_table != nullptr) {
      segment = args.segment_table + (args.segments == nullptr ? 0 : args.segments[n]) * args.C;
    }
  }

  // The tile of the sum that begins at `column`, not yet rounded to T.
  template <int kWidth>
  __device__ __forceinline__ void SumTile(int64_t column, int64_t C,
                                          float (&sum)[kTileValues]) const {
    LoadTile<kWidth>(first, column, C, sum);
    if (position != nullptr) AddTile<kWidth>(position, column, C, sum);
    if (segment != nullptr) AddTile<kWidth>(segment, column, C, sum);
  }

 private:
  template <int kWidth>
  static __device__ __forceinline__ void AddTile(const T* row, int64_t column, int64_t C,
                                                 float (&sum)[kTileValues]) {
    float value[kTileValues];
    LoadTile<kWidth>(row, column, C, value);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) sum[i] += value[i];
  }
};

// What every launcher asks of its arguments; returns the rows of the sum.
template <typename T>
int64_t CheckedEmbeddingRows(const EmbeddingForwardArgs<T>& args) {
  CHECK_EQ(args.token_table == nullptr, args.projected != nullptr);
  CHECK_EQ(args.register_table == nullptr, args.R == 0);
  const int64_t rows = args.N / args.T_ * (args.R + args.T_);
  CHECK_LT(rows, int64_t{1} << 31);
  return rows;
}

}  // namespace sluice::cuda
