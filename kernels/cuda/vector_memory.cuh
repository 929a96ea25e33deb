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
// Two values rounded to T as they lie in memory, `first` in the low half: one instruction.
template <typename T>
__device__ __forceinline__ uint32_t RoundedPair(float first, float second);
template <>
__device__ __forceinline__ uint32_t RoundedPair<bf16>(float first, float second) {
  const __nv_bfloat162_raw pair = __floats2bfloat162_rn(first, second);
  return pair.x | static_cast<uint32_t>(pair.y) << 16;
}
template <>
__device__ __forceinline__ uint32_t RoundedPair<fp16>(float first, float second) {
  const __half2_raw pair = __floats2half2_rn(first, second);
  return pair.x | static_cast<uint32_t>(pair.y) << 16;
}

// `width` values to global memory, to a multiple of their bytes. __stwb is a plain store of the
// whole vector: an assignment is taken apart by the compiler where values have 16 bits.
template <int width, typename T>
__device__ __forceinline__ void StoreFloats(const float (&values)[width], T* to) {
  if constexpr (width == 1) {
    *to = FromFloat<T>(values[0]);
  } else if constexpr (sizeof(T) == 4) {
    static_assert(width == 4);
    __stwb(reinterpret_cast<float4*>(to), make_float4(values[0], values[1], values[2], values[3]));
  } else if constexpr (width == 4) {
    __stwb(reinterpret_cast<uint2*>(to),
           make_uint2(RoundedPair<T>(values[0], values[1]), RoundedPair<T>(values[2], values[3])));
  } else {
    static_assert(width == 8);
    __stwb(reinterpret_cast<uint4*>(to),
           make_uint4(RoundedPair<T>(values[0], values[1]), RoundedPair<T>(values[2], values[3]),
                      RoundedPair<T>(values[4], values[5]), RoundedPair<T>(values[6], values[7])));
  }
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
