// What threads of a warp and of a block do together, always in the same order.
#pragma once

#include <cstdint>

namespace sluice::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

// The sum over the warp, in every lane: a tree, so the order of additions is fixed.
template <typename T>
__device__ __forceinline__ T WarpSum(T value) {
#pragma unroll
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kWholeWarp, value, distance);
  }
  return value;
}
__device__ __forceinline__ float WarpMax(float value) {
#pragma unroll
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, distance));
  }
  return value;
}

// The sum over a block of whole warps, in every thread; all threads must come. `scratch`: shared
// memory for blockDim.x / 32 values, free again after the next __syncthreads().
template <typename T>
__device__ __forceinline__ T BlockSum(T value, T* scratch) {
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int warps = blockDim.x / kWarpSize;
  value = WarpSum(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  return WarpSum(lane < warps ? scratch[lane] : T{0});
}

}  // namespace sluice::cuda
