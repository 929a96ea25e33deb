// One block a row. The logits are read once for the softmax's denominator (Milakov and Gimelshein,
// "Online normalizer calculation for softmax", arXiv 1805.02867): each thread keeps the largest
// logit so far and the sum of exponentials relative to it. The gradient reads them a second time,
// backwards, so that what was read last is found in the caches; a row of BERT's vocabulary is
// 119 KiB, and the rows in flight fit into the L2 cache.
//
// Rows need not be aligned (30522 logits are not a multiple of 16 bytes): up to the first multiple
// of 64 bytes, and after the last vector, a thread takes one logit.
#include "kernels/api/cross_entropy.h"

#include <cmath>

#include "core/check.h"
#include "core/status.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kWidth = 4;  // logits in a vector
constexpr int kAlignedLogits = 16;

// What the second kernel sums up. In workspace.
struct RowOutcome {
  double loss;  // 0 without a target
  int32_t counted, correct;
};

// Σ e^(x - largest) over some logits, as (largest, sum).
struct Normalizer {
  float largest = -INFINITY;
  float sum = 0;

  // NaN gets lost in `largest`, and comes back through the sum. Subtracting an infinite `largest`
  // would make NaN of logits that are all -infinity.
  __device__ __forceinline__ float shift() const { return largest == -INFINITY ? 0 : largest; }
  template <int kCount>
  __device__ __forceinline__ void Add(const float (&x)[kCount]) {
    Normalizer next;
    next.largest = largest;
#pragma unroll
    for (int i = 0; i < kCount; ++i) next.largest = fmaxf(next.largest, x[i]);
    if (next.largest > largest) sum *= expf(largest - next.largest);
    largest = next.largest;
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum += expf(x[i] - shift());
  }
};

// A row's parts: [0, head) and [tail, V) one by one, vectors in between.
struct RowParts {
  int64_t head, vectors, tail;

  __device__ RowParts(const float* row, int64_t V) {
    const auto logit = reinterpret_cast<uintptr_t>(row) / sizeof(float);
    const auto misaligned = static_cast<int64_t>(logit % kAlignedLogits);
    head = min((kAlignedLogits - misaligned) % kAlignedLogits, V);
    vectors = (V - head) / kWidth;
    tail = head + vectors * kWidth;
  }
};

// Whether the row's largest logit is not the target's: one that is larger, or as large and before
// it. With NaN it is not asked.
struct Target {
  int64_t index;
  float logit;

  template <int kCount>
  __device__ __forceinline__ bool IsBeatenBy(const float (&x)[kCount], int64_t first) const {
    bool beaten = false;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      beaten |= x[i] > logit || (x[i] == logit && first + i < index);
    }
    return beaten;
  }
};

struct BlockMemory {
  float largest[kWarps], sum[kWarps];
  int beaten[kWarps];
};

// The whole row's, in every thread of the block.
__device__ __forceinline__ void Combine(BlockMemory& shared, Normalizer& row, bool& beaten) {
  const float thread_largest = row.largest;
  row.largest = WarpMax(thread_largest);
  row.sum = WarpSum(row.sum * expf(thread_largest - row.shift()));
  beaten = WarpAny(beaten);
  if (LaneIndex() == 0) {
    shared.largest[WarpIndex()] = row.largest;
    shared.sum[WarpIndex()] = row.sum;
    shared.beaten[WarpIndex()] = beaten ? 1 : 0;
  }
  __syncthreads();
  for (int warp = 0; warp < kWarps; ++warp) row.largest = fmaxf(row.largest, shared.largest[warp]);
  row.sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) {
    row.sum += shared.sum[warp] * expf(shared.largest[warp] - row.shift());
    beaten = beaten || shared.beaten[warp] != 0;
  }
}

__device__ __forceinline__ void ReadRow(const float* logits, const RowParts& parts, int64_t V,
                                        const Target& target, Normalizer& row, bool& beaten) {
  const auto add_one = [&](int64_t v) {
    const float x[1] = {logits[v]};
    row.Add(x);
    beaten |= target.IsBeatenBy(x, v);
  };
  if (threadIdx.x < parts.head) add_one(threadIdx.x);
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < parts.vectors; i += kThreads) {
    float x[kWidth];
    LoadFloats(logits + parts.head + i * kWidth, x);
    row.Add(x);
    beaten |= target.IsBeatenBy(x, parts.head + i * kWidth);
  }
  if (parts.tail + threadIdx.x < V) add_one(parts.tail + threadIdx.x);
}

// value(logits, first column) → gradients, for each vector of the row; it may overwrite the logits.
template <typename T, typename Gradient>
__device__ __forceinline__ void WriteRow(const float* logits, const RowParts& parts, int64_t V,
                                         T* dlogits, const Gradient& gradient) {
  const auto write_one = [&](int64_t v) {
    const float x[1] = {logits[v]};
    float d[1];
    gradient(x, v, d);
    StoreFloats(d, dlogits + v);
  };
  if (parts.tail + threadIdx.x < V) write_one(parts.tail + threadIdx.x);
  const bool aligned =
      reinterpret_cast<uintptr_t>(dlogits + parts.head) % (kWidth * sizeof(T)) == 0;
  const int64_t last = (parts.vectors - 1) / kThreads * kThreads + threadIdx.x;
#pragma unroll 4
  for (int64_t i = last; i >= 0; i -= kThreads) {
    if (i >= parts.vectors) continue;
    const int64_t v = parts.head + i * kWidth;
    float x[kWidth], d[kWidth];
    LoadFloats(logits + v, x);
    gradient(x, v, d);
    if (aligned) {
      StoreFloats(d, dlogits + v);
    } else {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) dlogits[v + k] = FromFloat<T>(d[k]);
    }
  }
  if (threadIdx.x < parts.head) write_one(threadIdx.x);
}

// Begins before the row where that is not aligned, so that warps write whole sectors.
template <typename T>
__device__ __forceinline__ void ClearRow(T* row, int64_t V) {
  const auto place = reinterpret_cast<uintptr_t>(row) / sizeof(T);
  const auto misaligned = static_cast<int64_t>(place % kAlignedLogits);
  for (int64_t v = static_cast<int64_t>(threadIdx.x) - misaligned; v < V; v += kThreads) {
    if (v >= 0) row[v] = FromFloat<T>(0);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) CrossEntropyKernel(CrossEntropyArgs<T> args) {
  __shared__ BlockMemory shared;
  const int64_t m = blockIdx.x;
  const float* logits = args.logits + m * args.V;
  T* dlogits = args.dlogits == nullptr ? nullptr : args.dlogits + m * args.V;
  auto* outcome = static_cast<RowOutcome*>(args.workspace) + m;
  const RowParts parts(logits, args.V);
  const int32_t index = args.targets[m];
  if (index < 0) {
    if (threadIdx.x == 0) {
      *outcome = {};
      if (args.row_loss != nullptr) args.row_loss[m] = 0;
    }
    if (dlogits != nullptr) ClearRow(dlogits, args.V);
    return;
  }
  const Target target = {.index = index, .logit = logits[index]};
  Normalizer row;
  bool beaten = false;
  ReadRow(logits, parts, args.V, target, row, beaten);
  Combine(shared, row, beaten);  // its barrier: nobody reads the target's logit any more
  if (threadIdx.x == 0) {
    const double loss = static_cast<double>(logf(row.sum)) +
                        (static_cast<double>(row.largest) - static_cast<double>(target.logit));
    const bool correct = target.logit == row.largest && !beaten;
    *outcome = {.loss = loss, .counted = 1, .correct = correct ? 1 : 0};
    if (args.row_loss != nullptr) args.row_loss[m] = static_cast<float>(loss);
  }
  if (dlogits == nullptr) return;
  const float factor = args.gradient_scale / row.sum, shift = row.shift();
  const auto gradient = [&](const auto& x, int64_t first, auto& d) {
    constexpr int kCount = sizeof(x) / sizeof(float);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float e = expf(x[i] - shift);
      d[i] = first + i == target.index ? args.gradient_scale * (e / row.sum - 1) : e * factor;
    }
  };
  WriteRow(logits, parts, args.V, dlogits, gradient);
}

// One block: thread t sums rows t, t + kThreads …, and a tree their sums.
template <typename T>
__global__ void __launch_bounds__(kThreads) AddRowsKernel(CrossEntropyArgs<T> args) {
  __shared__ double loss_of_warp[kWarps];
  __shared__ int counted_of_warp[kWarps], correct_of_warp[kWarps];
  const auto* outcome = static_cast<const RowOutcome*>(args.workspace);
  double loss = 0;
  int counted = 0, correct = 0;
  for (int64_t m = threadIdx.x; m < args.M; m += kThreads) {
    loss += outcome[m].loss;
    counted += outcome[m].counted;
    correct += outcome[m].correct;
  }
  loss = WarpSum(loss), counted = WarpSum(counted), correct = WarpSum(correct);
  if (LaneIndex() == 0) {
    loss_of_warp[WarpIndex()] = loss;
    counted_of_warp[WarpIndex()] = counted, correct_of_warp[WarpIndex()] = correct;
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kWarps; ++warp) {
    loss += loss_of_warp[warp];
    counted += counted_of_warp[warp], correct += correct_of_warp[warp];
  }
  *args.loss_sum += loss;
  *args.target_count += counted;
  if (args.correct_count != nullptr) *args.correct_count += correct;
}

}  // namespace

int64_t CrossEntropyWorkspaceBytes(int64_t M) {
  return M * static_cast<int64_t>(sizeof(RowOutcome));
}

template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args, Stream stream) {
  if (args.M == 0) return absl::OkStatus();
  CHECK(args.workspace != nullptr);
  CHECK_LT(args.M, int64_t{1} << 31);
  RETURN_IF_ERROR(Launch(
      "cross_entropy", CrossEntropyKernel<T>,
      {.grid = dim3(static_cast<unsigned>(args.M)), .block = dim3(kThreads), .stream = stream},
      args));
  return Launch("cross_entropy, sum of rows", AddRowsKernel<T>,
                {.grid = dim3(1), .block = dim3(kThreads), .stream = stream}, args);
}

template absl::Status CrossEntropy(const CrossEntropyArgs<float>& args, Stream stream);
template absl::Status CrossEntropy(const CrossEntropyArgs<bf16>& args, Stream stream);
template absl::Status CrossEntropy(const CrossEntropyArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
