// Sums of a layer's gates: a block for each head and class, which looks at every token and takes
// those of its class. Threads sum in registers and then, in whole numbers, by atomic additions to
// shared memory: no order of them changes a bit. Blocks share nothing but the totals.
#include "kernels/api/gate_sums.h"

#include "core/binary_entropy.h"
#include "kernels/cuda/launch.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;

// 64-bit additions wrap, so these are the additions of signed numbers.
__device__ __forceinline__ void AtomicAdd(int64_t* to, int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}
__device__ __forceinline__ void AtomicMax(int64_t* to, int64_t value) {
  atomicMax(reinterpret_cast<long long*>(to), static_cast<long long>(value));
}
__device__ __forceinline__ int64_t ToUnits(double value) {
  return static_cast<int64_t>(value * kGateUnits + 0.5);
}

__global__ void __launch_bounds__(kThreads) GateSumsKernel(const GateSumsArgs args) {
  __shared__ int64_t sums[kGateSums];
  __shared__ int64_t extremes[2], rejected;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t cell = blockIdx.x, head = cell / args.classes, token_class = cell % args.classes;
  if (thread < kGateSums) sums[thread] = 0;
  if (thread < 2) extremes[thread] = args.extremes[cell * 2 + thread];
  if (thread == 0) rejected = 0;
  __syncthreads();

  constexpr int64_t kHalfMask = (int64_t{1} << kGateHalfBits) - 1;
  int64_t own[kGateHistogram] = {}, wrong = 0;
  int64_t largest = INT64_MIN, smallest = INT64_MIN;  // as extremes
  for (int64_t i = thread; i < args.N * args.gates_per_head; i += kThreads) {
    const int64_t n = i / args.gates_per_head, channel = i % args.gates_per_head;
    if (args.token_class[n] != token_class) continue;
    const float gate = args.gate[n * args.row_stride + head * args.gates_per_head + channel];
    if (!(gate >= 0 && gate <= 1)) {  // NaN too
      ++wrong;
      continue;
    }
    const double value = gate;
    const int64_t units = ToUnits(value), square = ToUnits(value * value);
    const int64_t entropy = ToUnits(BinaryEntropy(value));
    own[kGateCount] += 1;
    own[kGateValueHigh] += units >> kGateHalfBits;
    own[kGateValueLow] += units & kHalfMask;
    own[kGateSquareHigh] += square >> kGateHalfBits;
    own[kGateSquareLow] += square & kHalfMask;
    own[kGateEntropyHigh] += entropy >> kGateHalfBits;
    own[kGateEntropyLow] += entropy & kHalfMask;
    own[kGatesBelow] += value < args.below ? 1 : 0;
    own[kGatesAbove] += value > args.above ? 1 : 0;
    AtomicAdd(&sums[kGateHistogram + min(static_cast<int>(gate * kGateBins), kGateBins - 1)], 1);
    // Bits of floats that are not negative are ordered as the floats are.
    const int64_t bits = __float_as_int(gate + 0.0f);  // -0 becomes 0
    largest = max(largest, bits);
    smallest = max(smallest, -bits);
  }
  if (own[kGateCount] > 0) {
#pragma unroll
    for (int k = 0; k < kGateHistogram; ++k) AtomicAdd(&sums[k], own[k]);
    AtomicMax(&extremes[0], largest);
    AtomicMax(&extremes[1], smallest);
  }
  if (wrong > 0) AtomicAdd(&rejected, wrong);
  __syncthreads();

  if (thread < kGateSums) args.sums[cell * kGateSums + thread] += sums[thread];
  if (thread < 2) args.extremes[cell * 2 + thread] = extremes[thread];
  if (thread == 0 && sums[kGateCount] > 0) {
    AtomicAdd(&args.totals[kTotalCount], sums[kGateCount]);
    AtomicAdd(&args.totals[kTotalValueHigh], sums[kGateValueHigh]);
    AtomicAdd(&args.totals[kTotalValueLow], sums[kGateValueLow]);
  }
  if (thread == 0 && rejected > 0) AtomicAdd(&args.totals[kTotalRejected], rejected);
}

}  // namespace

absl::Status GateSums(const GateSumsArgs& args, Stream stream) {
  if (args.N == 0) return absl::OkStatus();
  return Launch("gate sums", GateSumsKernel,
                {.grid = dim3(static_cast<unsigned>(args.H * args.classes)),
                 .block = dim3(kThreads),
                 .stream = stream},
                args);
}

}  // namespace sluice::cuda
