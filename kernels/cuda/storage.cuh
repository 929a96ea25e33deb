// Storage types on the device: the same two bytes as core's bf16 and fp16, with the device's
// conversions. Kernels are templates over storage types; they compute in float.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/bf16.h"
#include "core/fp16.h"

namespace sluice::cuda {

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(bf16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}
__device__ __forceinline__ float ToFloat(fp16 value) {
  return __half2float(__ushort_as_half(value.bits));
}

// Round to nearest even, as core's constructors do.
template <typename T>
__device__ __forceinline__ T FromFloat(float value);
template <>
__device__ __forceinline__ float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ bf16 FromFloat<bf16>(float value) {
  bf16 stored;
  stored.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
  return stored;
}
template <>
__device__ __forceinline__ fp16 FromFloat<fp16>(float value) {
  fp16 stored;
  stored.bits = __half_as_ushort(__float2half_rn(value));
  return stored;
}

}  // namespace sluice::cuda
