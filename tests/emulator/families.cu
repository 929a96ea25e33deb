#include "emulator/families.h"

#include "emulator/upload.cuh"

namespace sluice::emulator {
namespace {

constexpr unsigned kWholeWarp = 0xffffffffu;

__constant__ uint32_t constant_factor;
__device__ uint32_t device_offset = 7;

__global__ void MemoryKernel(const uint8_t* x, uint32_t* out) {
  const int t = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int i = 0; i <= t; ++i) sum += reinterpret_cast<const int8_t*>(x)[i];
  out[t] = static_cast<uint32_t>(sum);
  volatile uint8_t copy[64];  // in local memory
  for (int i = 0; i < 64; ++i) copy[i] = x[(i + t) % 64];
  out[64 + t] = copy[(64 - t) % 64];
  if (t < 4) reinterpret_cast<uint4*>(out + 128)[t] = reinterpret_cast<const uint4*>(x)[t];
  if (t < 16) {
    out[144 + t] = reinterpret_cast<const uint32_t*>(x)[t] * constant_factor + (device_offset - 7);
  }
}

__device__ void ApplyAtomics(uint32_t* places, uint32_t thread) {
  atomicAdd(places + 0, thread);
  atomicMin(reinterpret_cast<int*>(places + 2), -static_cast<int>(thread));
  atomicMax(places + 4, thread);
  atomicAnd(places + 6, ~(1u << thread % 32));
  atomicOr(places + 8, 1u << thread % 31);
  atomicXor(places + 10, thread);
  atomicInc(places + 12, 99);
  for (uint32_t seen = places[14], before;; seen = before) {
    before = atomicCAS(places + 14, seen, seen + 1);
    if (before == seen) break;
  }
  atomicExch(places + 16, thread + 1);
}

__global__ void AtomicsKernel(uint32_t* out) {
  __shared__ uint32_t shared[18];
  const uint32_t thread = threadIdx.x;
  if (thread < 18) shared[thread] = thread == 6 ? ~0u : 0;
  __syncthreads();
  ApplyAtomics(shared, thread);
  const uint32_t global_thread = blockIdx.x * blockDim.x + thread;
  atomicAdd(out + 0, global_thread);
  atomicMax(out + 4, global_thread);
  atomicOr(out + 8, 1u << thread % 31);
  atomicXor(out + 10, global_thread);
  __syncthreads();
  if (blockIdx.x == 0 && thread < 9) out[2 * thread + 1] = shared[2 * thread];
}

__global__ void FloatAtomicsKernel(float* sum, uint32_t* pair, double* wide) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x + 1;
  atomicAdd(sum, static_cast<float>(i));
  atomicAdd(wide, static_cast<double>(i));
  // {1, 2} in bf16
  if (threadIdx.x == 0) {
    asm volatile("red.global.add.noftz.bf16x2 [%0], %1;" ::"l"(pair), "r"(0x40003f80) : "memory");
  }
}

__global__ void WarpKernel(const uint32_t* x, uint32_t* out) {
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t value = x[lane];
  const uint32_t results[12] = {__shfl_up_sync(kWholeWarp, value, 3),
                                __shfl_down_sync(kWholeWarp, value, 5),
                                __shfl_xor_sync(kWholeWarp, value, 9),
                                __shfl_sync(kWholeWarp, value, 7),
                                __shfl_down_sync(kWholeWarp, value, 2, 8),
                                __ballot_sync(kWholeWarp, value % 2 != 0),
                                static_cast<uint32_t>(__any_sync(kWholeWarp, value > 0) != 0),
                                static_cast<uint32_t>(__all_sync(kWholeWarp, value > 0) != 0),
                                __match_any_sync(kWholeWarp, value),
                                __reduce_add_sync(kWholeWarp, value),
                                __reduce_min_sync(kWholeWarp, value),
                                __reduce_xor_sync(kWholeWarp, value)};
  for (int k = 0; k < 12; ++k) out[k * 32 + lane] = results[k];
}

template <bool is_bf16>
__global__ void MatrixKernel(const uint16_t* a, const uint16_t* b, const float* c, float* d) {
  __shared__ alignas(16) uint16_t tile_a[16 * 16], tile_b[16 * 8];
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) tile_a[i] = a[i];
  for (int i = lane; i < 16 * 8; i += 32) tile_b[i] = b[i];
  __syncwarp();
  uint32_t fragment_a[4], fragment_b[2];
  const auto row_a =
      static_cast<uint32_t>(__cvta_generic_to_shared(tile_a + lane % 16 * 16 + lane / 16 * 8));
  const auto row_b = static_cast<uint32_t>(__cvta_generic_to_shared(tile_b + lane % 16 * 8));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(fragment_a[0]), "=r"(fragment_a[1]), "=r"(fragment_a[2]), "=r"(fragment_a[3])
               : "r"(row_a));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(fragment_b[0]), "=r"(fragment_b[1])
               : "r"(row_b));
  float sums[4];
  for (int k = 0; k < 4; ++k) sums[k] = c[(lane / 4 + k / 2 * 8) * 8 + lane % 4 * 2 + k % 2];
#define SLUICE_MMA(type)                                                                         \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                            \
               ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                      \
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                      \
               : "r"(fragment_a[0]), "r"(fragment_a[1]), "r"(fragment_a[2]), "r"(fragment_a[3]), \
                 "r"(fragment_b[0]), "r"(fragment_b[1]))
  if (is_bf16) {
    SLUICE_MMA("bf16");
  } else {
    SLUICE_MMA("f16");
  }
  for (int k = 0; k < 4; ++k) d[(lane / 4 + k / 2 * 8) * 8 + lane % 4 * 2 + k % 2] = sums[k];
}

__global__ void DivergenceKernel(uint32_t* out) {
  const uint32_t t = threadIdx.x;
  out[t] = 0;
  if (t % 5 == 0) return;
  uint32_t sum = 0;
#pragma unroll 1
  for (uint32_t i = 1; i <= t; ++i) {
    if (i % 3 == t % 3) {
      sum += i;
    } else {
      sum += i - 1;
      sum += 1;
    }
  }
  out[t] = sum;
}

__global__ void NamedBarriersKernel(const float* x, float* y, int n) {
  __shared__ float buffer[64];
  const int thread = static_cast<int>(threadIdx.x), side = thread % 64;
  for (int begin = 0; begin < n; begin += 64) {
    if (thread < 64) {
      buffer[side] = 2 * x[n - 1 - (begin + 63 - side)];
      asm volatile("bar.sync 1, 128;" ::: "memory");
    } else {
      asm volatile("bar.sync 1, 128;" ::: "memory");
      y[begin + side] = buffer[63 - side];
    }
    asm volatile("bar.sync 2, 128;" ::: "memory");
  }
}

__global__ void BarrierVotesKernel(const uint32_t* x, uint32_t* out) {
  const uint32_t value = x[threadIdx.x];
  out[threadIdx.x] = static_cast<uint32_t>(__syncthreads_count(value % 2 != 0));
  out[96 + threadIdx.x] = __syncthreads_and(value > 2) != 0 ? 1 : 0;
  out[192 + threadIdx.x] = __syncthreads_or(value == 5) != 0 ? 1 : 0;
}

template <typename Half>
Floats Multiply(const std::vector<Half>& a, const std::vector<Half>& b, const Floats& c) {
  const OnDevice<Half> device_a(a), device_b(b);
  const OnDevice<float> device_c(c), device_d(16 * 8);
  MatrixKernel<std::is_same_v<Half, bf16>><<<1, 32>>>(
      reinterpret_cast<const uint16_t*>(device_a.data()),
      reinterpret_cast<const uint16_t*>(device_b.data()), device_c.data(), device_d.data());
  return device_d.Download();
}

}  // namespace

Words RunMemory(const std::vector<uint8_t>& x, uint32_t factor) {
  const OnDevice<uint8_t> device_x(x);
  const OnDevice<uint32_t> out(160);
  cudaMemcpyToSymbol(constant_factor, &factor, sizeof factor);
  MemoryKernel<<<1, 64>>>(device_x.data(), out.data());
  return out.Download();
}

Words RunAtomics() {
  const OnDevice<uint32_t> out(18);
  AtomicsKernel<<<4, 256>>>(out.data());
  return out.Download();
}

Floats RunFloatAtomics() {
  const OnDevice<float> sum(1);
  const OnDevice<uint32_t> pair(1);
  const OnDevice<double> wide(1);
  FloatAtomicsKernel<<<4, 256>>>(sum.data(), pair.data(), wide.data());
  const uint32_t halves = pair.Download()[0];
  bf16 low, high;
  low.bits = static_cast<uint16_t>(halves);
  high.bits = static_cast<uint16_t>(halves >> 16);
  return {sum.Download()[0], static_cast<float>(wide.Download()[0]), low, high};
}

Words RunWarp(const Words& x) {
  const OnDevice<uint32_t> device_x(x), out(12 * 32);
  WarpKernel<<<1, 32>>>(device_x.data(), out.data());
  return out.Download();
}

Floats RunMatrix(const std::vector<bf16>& a, const std::vector<bf16>& b, const Floats& c) {
  return Multiply(a, b, c);
}
Floats RunMatrix(const std::vector<fp16>& a, const std::vector<fp16>& b, const Floats& c) {
  return Multiply(a, b, c);
}

Words RunDivergence() {
  const OnDevice<uint32_t> out(64);
  DivergenceKernel<<<1, 64>>>(out.data());
  return out.Download();
}

Words RunBarrierVotes(const Words& x) {
  const OnDevice<uint32_t> device_x(x), out(3 * 96);
  BarrierVotesKernel<<<1, 96>>>(device_x.data(), out.data());
  return out.Download();
}

Floats RunNamedBarriers(const Floats& x) {
  const OnDevice<float> device_x(x), y(x.size());
  NamedBarriersKernel<<<1, 128>>>(device_x.data(), y.data(), static_cast<int>(x.size()));
  return y.Download();
}

}  // namespace sluice::emulator
