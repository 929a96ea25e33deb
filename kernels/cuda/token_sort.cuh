// The tokens of a batch in order: those of one token together, by rising place. Keys are
// token · 2^32 + place, so all are different and any correct sort gives the same bits.
//
// Why a sort of our own: CUB's radix sort looks back at the sums of earlier blocks while they run,
// which a run of one block after the other cannot follow, asks the device for its properties at
// every call, and is made for millions of keys. Here are some ten thousand. Runs of 512 are ordered
// by counting, for each key, those that are smaller; then pairs of runs are merged, each key
// finding its place in the other run by bisection. log2(N / 512) + 1 launches, no atomics, no
// shared state.
#pragma once

#include <cstdint>

#include "core/integer_math.h"
#include "core/status.h"
#include "kernels/cuda/launch.cuh"

namespace sluice::cuda {

using TokenKey = uint64_t;

__host__ __device__ __forceinline__ TokenKey MakeTokenKey(int64_t token, int64_t place) {
  return static_cast<TokenKey>(token) << 32 | static_cast<TokenKey>(place);
}
__device__ __forceinline__ int64_t TokenOf(TokenKey key) { return static_cast<int64_t>(key >> 32); }
__device__ __forceinline__ int64_t PlaceOf(TokenKey key) {
  return static_cast<int64_t>(key & 0xffffffffu);
}

// How many of the rising keys [0, count), count < 2^31, are smaller than `key`.
__device__ __forceinline__ int64_t CountSmaller(const TokenKey* keys, int64_t count, TokenKey key) {
  int64_t smaller = 0;
  for (int64_t step = int64_t{1} << 30; step > 0; step /= 2) {
    if (smaller + step <= count && keys[smaller + step - 1] < key) smaller += step;
  }
  return smaller;
}

constexpr int kSortedRun = 512;

static __global__ void __launch_bounds__(kSortedRun)
    SortRunsKernel(const int32_t* tokens, int64_t N, TokenKey* sorted) {
  __shared__ TokenKey keys[kSortedRun];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSortedRun;
  const int64_t place = first + threadIdx.x;
  // What is beyond the end comes last, in any order that is one.
  const TokenKey key = MakeTokenKey(place < N ? tokens[place] : INT32_MAX, place);
  keys[threadIdx.x] = key;
  __syncthreads();
  int smaller = 0;
#pragma unroll 8
  for (int i = 0; i < kSortedRun; ++i) smaller += keys[i] < key ? 1 : 0;
  __syncthreads();
  keys[smaller] = key;
  __syncthreads();
  if (place < N) sorted[place] = keys[threadIdx.x];
}

// Runs of `length` become runs of 2 · length.
static __global__ void __launch_bounds__(kSortedRun)
    MergeRunsKernel(const TokenKey* from, int64_t N, int64_t length, TokenKey* to) {
  const int64_t place = static_cast<int64_t>(blockIdx.x) * kSortedRun + threadIdx.x;
  if (place >= N) return;
  const int64_t own = place / length * length;
  const int64_t pair = own / (2 * length) * (2 * length);
  const int64_t other = min(own == pair ? pair + length : pair, N);
  const TokenKey key = from[place];
  const int64_t smaller = CountSmaller(from + other, min(length, N - other), key);
  to[pair + (place - own) + smaller] = key;
}

// N < 2^31 keys, in one of the two buffers of N keys each: `*sorted` says in which.
inline absl::Status SortTokens(const int32_t* tokens, int64_t N, TokenKey* const (&buffers)[2],
                               Stream stream, const TokenKey** sorted) {
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(CeilDiv(N, kSortedRun))),
                             .block = dim3(kSortedRun),
                             .stream = stream};
  int now = 0;
  RETURN_IF_ERROR(
      Launch("embedding backward, sort", SortRunsKernel, shape, tokens, N, buffers[now]));
  for (int64_t length = kSortedRun; length < N; length *= 2, now = 1 - now) {
    RETURN_IF_ERROR(Launch("embedding backward, merge", MergeRunsKernel, shape, buffers[now], N,
                           length, buffers[1 - now]));
  }
  *sorted = buffers[now];
  return absl::OkStatus();
}

}  // namespace sluice::cuda
