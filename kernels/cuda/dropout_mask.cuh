// The masks that kernels/api/dropout.h defines, drawn by a warp for 256 columns of a row at once:
// each lane draws the 8 slots of one of two times 16 lanes of the definition, and ballots hand out
// the bits to the lanes that load the columns.
#pragma once

#include <cstdint>

#include "core/philox.h"
#include "kernels/api/dropout.h"
#include "kernels/cuda/device_primitives.cuh"

namespace sluice::cuda {

// What the host works out of a Dropout, by value for a kernel.
struct DropoutParameters {
  PhiloxKey key;
  const int64_t* sample_index;  // (B), on the device
  int64_t rows_per_sample;
  uint32_t threshold;
  float scale;  // 0: no dropout

  __device__ bool enabled() const { return scale != 0; }
};
inline DropoutParameters MakeDropoutParameters(const Dropout& dropout) {
  if (!dropout.enabled()) return {};
  return {dropout.key, dropout.sample_index, dropout.rows_per_sample, dropout.threshold(),
          dropout.scale()};
}

constexpr int kDropoutBlock = 128;                  // columns that share counters
constexpr int kDropoutColumns = 2 * kDropoutBlock;  // columns of one call

// Bits of the columns that a lane loads when each lane takes `width` neighbouring columns, 32 ·
// width a pass: pass p has columns `begin` + 32 · width · p + width · lane and on. Whole warp;
// begin is a multiple of 256. Bit i of Pass(p): column i of the lane's pass is kept.
template <int width>
class WarpDropoutMask {
 public:
  static_assert(width == 1 || width == 4 || width == 8);
  static constexpr int kPasses = kDropoutColumns / (kWarpSize * width);

  __device__ __forceinline__ WarpDropoutMask(const DropoutParameters& dropout, uint64_t sample,
                                             int64_t row, int64_t begin, int64_t columns) {
    const int lane = threadIdx.x % kWarpSize;
    const int64_t blocks = (columns + kDropoutBlock - 1) / kDropoutBlock;
    const int64_t block = row * blocks + begin / kDropoutBlock + lane / 16;
    const auto words =
        Philox(dropout.key, PhiloxCounter(static_cast<uint64_t>(block * 16 + lane % 16), sample));
#pragma unroll
    for (int s = 0; s < 8; ++s) {
      const uint32_t bits = s % 2 == 0 ? words[s / 2] & 0xffffu : words[s / 2] >> 16;
      const uint32_t ballot = __ballot_sync(kWholeWarp, bits >= dropout.threshold);
      // Of a pass's columns a lane needs the ballot of one slot: 16 columns of each block of 128.
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) {
        if (s == 0 || s == Column(pass) % kDropoutBlock / 16) kept_[pass] = ballot;
      }
    }
  }

  __device__ __forceinline__ uint32_t Pass(int pass) const {
    const int shift = Column(pass) / kDropoutBlock * 16 + Column(pass) % 16;
    return kept_[pass] >> shift & ((1u << width) - 1);
  }

 private:
  // The lane's first of a pass, from `begin` on.
  static __device__ __forceinline__ int Column(int pass) {
    return (pass * kWarpSize + static_cast<int>(threadIdx.x % kWarpSize)) * width;
  }

  uint32_t kept_[kPasses];
};

}  // namespace sluice::cuda
