// Dropout of a warp's tile of hidden states.
#pragma once

#include "kernels/cuda/dropout_mask.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace sluice::cuda {

// Multiplies the tile of row n of hidden states (N, columns) that begins at column `first`, a
// multiple of 256, by 0 or the scale. Rows are fewer than 2^31 (a grid has no more blocks), and
// 32-bit division is far cheaper.
template <int kWidth>
__device__ __forceinline__ void DropOutTile(const DropoutParameters& dropout, int64_t n,
                                            int64_t first, int64_t columns,
                                            float (&value)[kTileValues]) {
  const auto rows = static_cast<uint32_t>(dropout.rows_per_sample);
  const int64_t sample = dropout.sample_index[static_cast<uint32_t>(n) / rows];
  const WarpDropoutMask<kWidth> mask(dropout, static_cast<uint64_t>(sample),
                                     static_cast<uint32_t>(n) % rows, first, columns);
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) {
    const bool kept = (mask.Pass(i / kWidth) >> i % kWidth & 1u) != 0;
    value[i] *= kept ? dropout.scale : 0.0f;
  }
}

}  // namespace sluice::cuda
