// More of what the lanes of a warp and the warps of a block do together: several sums at once, and
// sums over some of a block's warps. Each in one order: the same bits in every run. All 32 lanes of
// a warp take part.
#pragma once

#include "kernels/cuda/row_tile.cuh"

namespace sluice::cuda {

// Bit l: what lane l says.
__device__ __forceinline__ uint32_t WarpBallot(bool value) {
  return __ballot_sync(kWholeWarp, value);
}
__device__ __forceinline__ bool WarpAny(bool value) { return __any_sync(kWholeWarp, value) != 0; }

// The value of lane `lane`.
__device__ __forceinline__ float WarpBroadcast(float value, int lane) {
  return __shfl_sync(kWholeWarp, value, lane);
}

// One step of WarpSumOfEach: lanes `kStep` apart keep kStep of their 2 · kStep values each, those
// whose index has the step's bit as the lane has it, and give away the others. A template, so that
// every index is a constant and the values stay in registers.
template <int kStep>
__device__ __forceinline__ void HalveSums(float (&value)[kWarpSize]) {
  const bool upper = (LaneIndex() & kStep) != 0;
#pragma unroll
  for (int i = 0; i < kStep; ++i) {
    const float kept = upper ? value[i + kStep] : value[i];
    const float given = upper ? value[i] : value[i + kStep];
    value[i] = kept + __shfl_xor_sync(kWholeWarp, given, kStep);
  }
  if constexpr (kStep > 1) HalveSums<kStep / 2>(value);
}
// 32 sums at once: lane l gets the sum over all lanes of value[l], by 31 shuffles where 32 sums one
// by one take 160. Destroys `value`.
__device__ __forceinline__ float WarpSumOfEach(float (&value)[kWarpSize]) {
  HalveSums<kWarpSize / 2>(value);
  return value[0];
}

// Sums over groups of neighbouring warps of a block. The warps' sums go through one of two halves
// of this shared memory in turn, so that a sum costs one barrier: a half is written again only
// after the barrier of the sum in between.
template <int kValues>
struct WarpGroupSums {
  float of_warp[2][32][kValues];
};

// Each of `value` becomes its sum over the group of `warps` warps that this warp belongs to, in
// every lane. All warps of the block call it together, with 0, 1, 2 … as `round`; groups of one
// warp need no barrier, and then a warp may also leave early.
template <int kValues>
__device__ __forceinline__ void GroupSum(WarpGroupSums<kValues>& shared, int warps, int round,
                                         float (&value)[kValues]) {
#pragma unroll
  for (int k = 0; k < kValues; ++k) value[k] = WarpSum(value[k]);
  if (warps == 1) return;
  float(&of_warp)[32][kValues] = shared.of_warp[round % 2];
  if (LaneIndex() == 0) {
#pragma unroll
    for (int k = 0; k < kValues; ++k) of_warp[WarpIndex()][k] = value[k];
  }
  __syncthreads();
  const int first = WarpIndex() / warps * warps;
#pragma unroll
  for (int k = 0; k < kValues; ++k) value[k] = 0;
  for (int warp = first; warp < first + warps; ++warp) {
#pragma unroll
    for (int k = 0; k < kValues; ++k) value[k] += of_warp[warp][k];
  }
}

}  // namespace sluice::cuda
