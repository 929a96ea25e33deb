#include "emulator/seeded_bugs.h"

#include <cuda_runtime.h>

#include "emulator/warp_instructions.cuh"

namespace sluice::emulator {
namespace {

__global__ void Right(const float* x, float* y, int n) {
  __shared__ float s[kBugThreads];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[n - 1 - threadIdx.x];
}

// ---- barriers
__global__ void MissingBarrier(const float* x, float* y, int n) {
  __shared__ float s[kBugThreads];
  s[threadIdx.x] = 0;
  __syncthreads();
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[n - 1 - threadIdx.x];
}
__global__ void MissingBarrierThatOrderHides(const float* x, float* y, int n) {
  __shared__ float s;
  if (threadIdx.x == 0) s = x[n - 1];  // right whenever thread 0 runs first
  y[threadIdx.x] = s == x[n - 1] ? x[n - 1 - threadIdx.x] : 0;
}
__global__ void MissingWarpBarrier(const float* x, float* y, int n) {
  __shared__ float s[kBugThreads];
  s[threadIdx.x] = x[n - 1 - (threadIdx.x ^ 1)];
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void MissingBarrierBeforeReuse(const float* x, float* y, int n) {
  __shared__ float s[kBugThreads];
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    s[threadIdx.x] = round == 0 ? 0 : x[threadIdx.x];
    __syncthreads();
    sum += s[n - 1 - threadIdx.x];
  }
  y[threadIdx.x] = sum;
}
__global__ void BarrierOfHalfTheBlock(const float* x, float* y, int n) {
  if (threadIdx.x < kBugThreads / 2) __syncthreads();
  y[threadIdx.x] = x[n - 1 - threadIdx.x];
}
__global__ void BarrierInBothBranches(const float* x, float* y, int n) {
  __shared__ float s[kBugThreads];
  s[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
    s[threadIdx.x] += 0;
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = s[n - 1 - threadIdx.x];
}
__global__ void ExitBeforeBarrier(const float* x, float* y, int n) {
  if (threadIdx.x == 77) return;
  __syncthreads();
  y[threadIdx.x] = x[n - 1 - threadIdx.x];
}
__global__ void NamedBarrierOfTooMany(const float* x, float* y, int n) {
  if (threadIdx.x < 64) asm volatile("bar.sync 1, 128;" ::: "memory");
  y[threadIdx.x] = x[n - 1 - threadIdx.x];
}

// ---- warps
__global__ void DivergentShuffle(const float* x, float* y, int n) {
  float value = x[n - 1 - threadIdx.x];
  if (threadIdx.x % 32 < 16) value = __shfl_xor_sync(0xffffffffu, value, 0);
  y[threadIdx.x] = value;
}
__global__ void ShuffleFromNobody(const float* x, float* y, int n) {
  float value = x[n - 1 - threadIdx.x];
  if (threadIdx.x % 32 < 16) value += 0 * __shfl_xor_sync(0xffffu, value, 16);
  y[threadIdx.x] = value;
}
__global__ void DivergentMma(const float* x, float* y, int n) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x % 32 != 5) MultiplyTiles(d, a, b);
  y[threadIdx.x] = x[n - 1 - threadIdx.x] + d[0];
}

// ---- asynchronous copies
__global__ void MissingWait(const float* x, float* y, int n) {
  __shared__ alignas(16) float s[kBugThreads];
  if (threadIdx.x < kBugThreads / 4) CopyAsync(s + threadIdx.x * 4, x + threadIdx.x * 4);
  CommitCopies();
  __syncthreads();
  y[threadIdx.x] = s[n - 1 - threadIdx.x];
  WaitForCopies<0>();
}
__global__ void WaitForTooFew(const float* x, float* y, int n) {
  __shared__ alignas(16) float s[kBugThreads];
  if (threadIdx.x < 32) CopyAsync(s + threadIdx.x * 4, x + threadIdx.x * 4);
  CommitCopies();
  if (threadIdx.x < 32) CopyAsync(s + 128 + threadIdx.x * 4, x + 128 + threadIdx.x * 4);
  CommitCopies();
  WaitForCopies<1>();
  __syncthreads();
  y[threadIdx.x] = s[n - 1 - threadIdx.x];
  WaitForCopies<0>();
}
__global__ void MissingBarrierAfterWait(const float* x, float* y, int n) {
  __shared__ alignas(16) float s[kBugThreads];
  s[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x < kBugThreads / 4) CopyAsync(s + threadIdx.x * 4, x + threadIdx.x * 4);
  CommitCopies();
  WaitForCopies<0>();
  y[threadIdx.x] = s[n - 1 - threadIdx.x];
}

// ---- addresses
__global__ void ReadPastTheEnd(const float* x, float* y, int n) {
  const float value = x[threadIdx.x + 1];
  y[threadIdx.x] = value < 0 ? value : x[n - 1 - threadIdx.x];
}
__global__ void WritePastTheEnd(const float* x, float* y, int n) {
  y[threadIdx.x] = x[n - 1 - threadIdx.x];
  if (threadIdx.x == 9) y[n] = 0;
}
__global__ void WriteBeforeTheBegin(const float* x, float* y, int n) {
  y[threadIdx.x] = x[n - 1 - threadIdx.x];
  if (threadIdx.x == 9) y[-1] = 0;
}
__global__ void SharedPastTheEnd(const float* x, float* y, int n) {
  __shared__ float s[kBugThreads];
  s[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[n - threadIdx.x];
}
__global__ void DynamicSharedPastTheEnd(const float* x, float* y, int n) {
  extern __shared__ float dynamic_shared[];
  dynamic_shared[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = dynamic_shared[n - threadIdx.x];
}
__global__ void Uninitialized(const float* x, float* y, int n) {
  __shared__ float s[kBugThreads + 1];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[n - 1 - threadIdx.x] + s[kBugThreads] * 0;
}
__global__ void MisalignedVector(const float* x, float* y, int n) {
  y[threadIdx.x] = x[n - 1 - threadIdx.x];
  if (threadIdx.x == 3) {
    const float4 value = *reinterpret_cast<const float4*>(x + 1);
    y[3] = value.x < 0 ? value.y : x[n - 4];
  }
}
__global__ void MisalignedRow(const float* x, float* y, int n) {
  __shared__ alignas(16) float s[2 * kBugThreads];
  for (int i = threadIdx.x; i < 2 * kBugThreads; i += kBugThreads) s[i] = 0;
  __syncthreads();
  uint32_t r[4];
  LoadTiles(r, s + threadIdx.x % 32 * 4 + 1);
  y[threadIdx.x] = x[n - 1 - threadIdx.x] + static_cast<float>(r[0]);
}

// ---- global memory
__global__ void BlocksWriteOnePlace(const float* x, float* y, int n) {
  if (blockIdx.x == 0) y[threadIdx.x] = x[n - 1 - threadIdx.x];
  if (threadIdx.x == 17) y[17] = x[n - 18] + static_cast<float>(blockIdx.x) * 0;
}
__global__ void BlocksReadOthers(const float* x, float* y, int n) {
  const int half = n / 2, i = static_cast<int>(threadIdx.x) % half + blockIdx.x * half;
  y[i] = x[n - 1 - i];
  if (blockIdx.x == 1 && y[threadIdx.x % half] < 0) y[i] = 0;
}
__global__ void SumWithoutAtomics(const float* x, float* y, int n) {
  y[threadIdx.x] = threadIdx.x != 0 ? x[n - 1 - threadIdx.x] : 0;
  __syncthreads();
  y[0] = y[0] + x[n - 1] / static_cast<float>(n);
}

#define SLUICE_BUG(kernel, message) \
  { #kernel, kernel, 1, 0, message }
const SeededBug kBugs[] = {
    SLUICE_BUG(Right, nullptr),
    SLUICE_BUG(MissingBarrier, "a race on shared memory.*with no barrier in between"),
    SLUICE_BUG(MissingBarrierThatOrderHides, "shared memory"),
    SLUICE_BUG(MissingWarpBarrier, "a race on shared memory.*with no barrier in between"),
    SLUICE_BUG(MissingBarrierBeforeReuse, "a race on shared memory.*with no barrier in between"),
    SLUICE_BUG(BarrierOfHalfTheBlock, "waits at a barrier that warp 4 exited without reaching"),
    SLUICE_BUG(BarrierInBothBranches, "only lanes 0x.* come to this barrier"),
    SLUICE_BUG(ExitBeforeBarrier, "lanes 0x2000 exited without reaching this barrier"),
    SLUICE_BUG(NamedBarrierOfTooMany, "barrier 1 waits for 128 threads, which never come"),
    SLUICE_BUG(DivergentShuffle, "lanes that have exited|the warp has diverged"),
    SLUICE_BUG(ShuffleFromNobody, "reads the value of lane 16, which takes no part"),
    SLUICE_BUG(DivergentMma, "lanes that have exited|the warp has diverged"),
    SLUICE_BUG(MissingWait, "that a cp.async of thread .*, not waited for, writes"),
    SLUICE_BUG(WaitForTooFew, "that a cp.async of thread .*, not waited for, writes"),
    SLUICE_BUG(MissingBarrierAfterWait, "a race on shared memory|that a cp.async of thread"),
    SLUICE_BUG(ReadPastTheEnd, "is 0 bytes past the end of an allocation of 1024 bytes"),
    SLUICE_BUG(WritePastTheEnd, "is 0 bytes past the end of an allocation of 1024 bytes"),
    SLUICE_BUG(WriteBeforeTheBegin, "is in no allocation|bytes before|past the end"),
    SLUICE_BUG(SharedPastTheEnd, "writes shared memory between two variables"),
    {"DynamicSharedPastTheEnd", DynamicSharedPastTheEnd, 1, kBugThreads * sizeof(float),
     "is beyond the block's 1024 bytes"},
    SLUICE_BUG(Uninitialized, "reads shared memory that nothing has written"),
    SLUICE_BUG(MisalignedVector, "global address 0x.* isn't a multiple of 16"),
    SLUICE_BUG(MisalignedRow, "shared address 0x.* isn't a multiple of 16"),
    {"BlocksWriteOnePlace", BlocksWriteOnePlace, 64, 0, "a race on global memory.*block"},
    {"BlocksReadOthers", BlocksReadOthers, 2, 0, "a race on global memory.*block"},
    SLUICE_BUG(SumWithoutAtomics, "a race on global memory.*thread"),
};

}  // namespace

const std::vector<SeededBug>& SeededBugs() {
  static const std::vector<SeededBug> bugs(std::begin(kBugs), std::end(kBugs));
  return bugs;
}

std::vector<float> RunBug(const SeededBug& bug) {
  std::vector<float> x(kBugThreads), y(kBugThreads);
  for (int i = 0; i < kBugThreads; ++i) x[i] = static_cast<float>(i + 1);
  constexpr size_t kBytes = kBugThreads * sizeof(float);
  float *device_x = nullptr, *device_y = nullptr;
  cudaMalloc(&device_x, kBytes);
  cudaMalloc(&device_y, kBytes);
  cudaMemcpy(device_x, x.data(), kBytes, cudaMemcpyHostToDevice);
  bug.kernel<<<bug.blocks, kBugThreads, bug.dynamic_shared_bytes>>>(device_x, device_y,
                                                                    kBugThreads);
  cudaMemcpy(y.data(), device_y, kBytes, cudaMemcpyDeviceToHost);
  cudaFree(device_x);
  cudaFree(device_y);
  return y;
}

}  // namespace sluice::emulator
