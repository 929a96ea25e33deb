// The mask of kernels/api/dropout.h for a tile of queries × keys, as bits in shared memory. A draw
// of Philox serves one query and up to eight keys, 16 apart: half-warps draw for a query each, and
// a ballot gathers their 16 lanes' bits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/philox.h"
#include "kernels/cuda/attention_problem.cuh"

namespace sluice::cuda {

template <int kQueries, int kKeys>
struct DropoutBits {
  static_assert(kQueries % 2 == 0 && kKeys % 16 == 0 && kKeys <= 128);
  uint16_t words[kQueries][kKeys / 16];  // bit c of word s: key 16 s + c is kept

  // Of queries i0 … and keys key0 …, a multiple of kKeys, of head h of row b; by the whole block.
  template <int kThreads, typename T>
  __device__ __forceinline__ void Draw(const AttentionProblem<T>& problem, int b, int h, int i0,
                                       int key0) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const auto sample = static_cast<uint64_t>(problem.sample_index[b]);
    const int64_t blocks = (problem.keys() + 127) / 128;
#pragma unroll 1
    for (int pair = static_cast<int>(threadIdx.x) / 32; pair < kQueries / 2;
         pair += kThreads / 32) {
      const int query = 2 * pair + lane / 16;
      const int64_t row = static_cast<int64_t>(h) * problem.T_ + i0 + query;
      const int64_t position = (row * blocks + key0 / 128) * 16 + lane % 16;
      const auto drawn =
          Philox(problem.drop_key, PhiloxCounter(static_cast<uint64_t>(position), sample));
#pragma unroll
      for (int s = 0; s < kKeys / 16; ++s) {
        const int slot = key0 % 128 / 16 + s;
        const uint32_t word =
            slot < 4 ? (slot < 2 ? drawn[0] : drawn[1]) : (slot < 6 ? drawn[2] : drawn[3]);
        const uint32_t bits = slot % 2 == 0 ? word & 0xffffu : word >> 16;
        const uint32_t kept = __ballot_sync(~0u, bits >= problem.drop_threshold);
        if (lane % 16 == 0) words[query][s] = static_cast<uint16_t>(kept >> lane);
      }
    }
  }
  __device__ __forceinline__ bool Keeps(int query, int key) const {
    return (words[query][key / 16] >> key % 16 & 1) != 0;
  }
};

}  // namespace sluice::cuda
