// The instructions that attention's tiles and its gates are made of, as functions: the only file
// with inline PTX for them. Letters as in PTX ISA, "Matrix fragments for mma.m16n8k16":
// g = lane / 4 and q = lane % 4.
//
// A fragment of sums, 16 rows × 8 columns in float: a lane holds (g, 2q), (g, 2q + 1), (g + 8, 2q),
// (g + 8, 2q + 1), in this order.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/bf16.h"
#include "core/fp16.h"

namespace sluice::cuda {

// sums (16 × 8) += a (16 × 16, by rows) · b (16 × 8, by columns).
template <typename T>
__device__ __forceinline__ void MultiplyAccumulate(float (&sums)[4], const uint32_t (&a)[4],
                                                   uint32_t b0, uint32_t b1);
template <>
__device__ __forceinline__ void MultiplyAccumulate<bf16>(float (&sums)[4], const uint32_t (&a)[4],
                                                         uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void MultiplyAccumulate<fp16>(float (&sums)[4], const uint32_t (&a)[4],
                                                         uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two floats rounded to T, the first in the low half.
template <typename T>
__device__ __forceinline__ uint32_t PackPair(float low, float high);
template <>
__device__ __forceinline__ uint32_t PackPair<bf16>(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return static_cast<uint32_t>(__bfloat16_as_ushort(pair.y)) << 16 | __bfloat16_as_ushort(pair.x);
}
template <>
__device__ __forceinline__ uint32_t PackPair<fp16>(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return static_cast<uint32_t>(__half_as_ushort(__high2half(pair))) << 16 |
         __half_as_ushort(__low2half(pair));
}

// Addresses of shared memory, in bytes, as ldmatrix and cp.async take them.
__device__ __forceinline__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Four 8 × 8 matrices of 16-bit elements; lane l names row l % 8 of matrix l / 8. A lane gets
// elements (g, 2q) and (g, 2q + 1) of each, transposed: (2q, g) and (2q + 1, g).
__device__ __forceinline__ void LoadMatrices(uint32_t (&matrices)[4], uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(row_address)
               : "memory");
}
__device__ __forceinline__ void LoadMatricesTransposed(uint32_t (&matrices)[4],
                                                       uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(row_address)
               : "memory");
}

// 16 bytes from global to shared memory in the background, both aligned; where not `valid` zeros,
// and nothing is read.
__device__ __forceinline__ void CopyAsync(uint32_t shared_address, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
               :
               : "r"(shared_address), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;\n" : : : "memory");
}
// All that this thread began; others' are seen after a barrier.
__device__ __forceinline__ void WaitForCopies() {
  asm volatile("cp.async.wait_group 0;\n" : : : "memory");
}

// 2^x of one instruction: relative error at most 2^-22, results below 2^-126 are 0.
__device__ __forceinline__ float ExponentialOfTwo(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(result) : "f"(x));
  return result;
}

// The same value, which the compiler takes for a new one: what follows from it is computed where it
// is used, instead of lying in registers all through a tile loop.
__device__ __forceinline__ int ComputedAnew(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

// A tile in shared memory: rows of kRowBytes without padding, in chunks of 16 bytes that are
// swizzled within their row, so that eight consecutive rows' chunks of one column, which ldmatrix
// reads at once, lie in different banks. A chunk's group of four banks is (row · chunks + chunk)
// mod 8; with a multiple of 8 chunks a row three bits of the row are mixed into it, where rows
// take turns by themselves (4 or 2 mod 8) two or one.
template <int kRowBytes>
struct SwizzledRows {
  static_assert(kRowBytes % 32 == 0, "rows are whole pairs of chunks");
  static constexpr int kBytes = kRowBytes;
  static constexpr int kChunks = kRowBytes / 16;
  static constexpr int kShift = kChunks % 8 == 0 ? 0 : kChunks % 4 == 0 ? 1 : 2;
  static constexpr int kMask = kChunks % 8 == 0 ? 7 : kChunks % 4 == 0 ? 3 : 1;

  // Bytes from the tile's begin.
  static __device__ __forceinline__ int Offset(int row, int chunk) {
    return row * kRowBytes + ((chunk ^ (row >> kShift & kMask)) << 4);
  }
  // The address of chunk + `further`, an even constant, from that of chunk 0 or 1 of the same row
  // of a tile at a multiple of 128: one instruction.
  static __device__ __forceinline__ uint32_t Further(uint32_t address, int further) {
    return (address ^ ((further & kMask) << 4)) + ((further & ~kMask) << 4);
  }
};

}  // namespace sluice::cuda
