// Loads and stores of several neighbouring values at once, as floats, and the loop over a flat
// buffer that uses them where everything is aligned and goes one by one where not.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/storage.cuh"

namespace sluice::cuda {

constexpr int kVectorBytes = 16;  // the widest access of a thread

// How many T one access of 16 bytes holds.
template <typename T>
constexpr int kVectorWidth = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};

// `width` values from `from`, which is a multiple of their bytes.
template <int width, typename T>
__device__ __forceinline__ void LoadFloats(const T* from, float (&values)[width]) {
  const Pack<T, width> pack = *reinterpret_cast<const Pack<T, width>*>(from);
#pragma unroll
  for (int i = 0; i < width; ++i) values[i] = ToFloat(pack.values[i]);
}
template <int width, typename T>
__device__ __forceinline__ void StoreFloats(const float (&values)[width], T* to) {
  Pack<T, width> pack;
#pragma unroll
  for (int i = 0; i < width; ++i) pack.values[i] = FromFloat<T>(values[i]);
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

// Are all of these addresses multiples of `bytes`? For the host, which then asks for vectors.
inline bool AreAligned(std::initializer_list<const void*> pointers, int64_t bytes = kVectorBytes) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(bytes) != 0) return false;
  }
  return true;
}

template <int value>
struct Width {
  static constexpr int kValue = value;
};

// body(i, Width<w>) for the part of [0, count) that is this block's, count values of which
// blockDim.x · width a block: with w = width where `aligned` and the whole block is inside, else
// with 1. Neighbouring threads have neighbouring values both ways.
template <int width, typename Body>
__device__ __forceinline__ void ForEachVectorOfBlock(int64_t count, bool aligned,
                                                     const Body& body) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * blockDim.x * width;
  if (aligned && begin + static_cast<int64_t>(blockDim.x) * width <= count) {
    body(begin + static_cast<int64_t>(threadIdx.x) * width, Width<width>());
    return;
  }
#pragma unroll 1
  for (int k = 0; k < width; ++k) {
    const int64_t i = begin + static_cast<int64_t>(k) * blockDim.x + threadIdx.x;
    if (i < count) body(i, Width<1>());
  }
}

}  // namespace sluice::cuda
