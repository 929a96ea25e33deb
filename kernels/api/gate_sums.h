// What the gates of a layer do, summed for each head and class of token: their number, sum, sum of
// squares, binary entropies (core/binary_entropy.h), how many are closed and open, a histogram, the
// smallest and the largest. All in whole numbers, so that no order of additions, and no device,
// changes a bit.
//
// A gate g becomes v = round(g · 2^48), kept as v = high · 2^24 + low, and its square and entropy
// likewise: these sums have room for 2^39 gates. A gate that is NaN or outside of [0, 1] is counted
// as rejected and in nothing else.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

inline constexpr int kGateBins = 64;  // bin b holds [b/64, (b+1)/64); the last one also 1

// What is summed for a head and class, in this order; the bins are the last ones.
enum GateSum {
  kGateCount,
  kGateValueHigh,
  kGateValueLow,
  kGateSquareHigh,
  kGateSquareLow,
  kGateEntropyHigh,
  kGateEntropyLow,
  kGatesBelow,
  kGatesAbove,
  kGateHistogram,
  kGateSums = kGateHistogram + kGateBins
};
// Of all heads and classes together; rejected ones are not among the count.
enum GateTotal { kTotalCount, kTotalValueHigh, kTotalValueLow, kTotalRejected, kGateTotals };

inline constexpr double kGateUnits = 0x1p48;
inline constexpr int kGateHalfBits = 24;
inline constexpr uint8_t kUncountedToken = 255;  // the class of tokens that are left out (padding)

struct GateSumsArgs {
  const float* gate;           // (N, H · gates_per_head), rows row_stride apart
  const uint8_t* token_class;  // (N), each below `classes` or kUncountedToken
  int64_t* sums;               // (H, classes, kGateSums), ADDED to
  int64_t* extremes;  // (H, classes, 2): bits of the largest gate as a float, and minus those of
                      // the smallest; each becomes the larger of what it is and of what is found
  int64_t* totals;    // (kGateTotals), ADDED to
  int64_t N, H, gates_per_head, classes;
  int64_t row_stride;
  double below, above;  // a gate is closed below the one and open above the other
};

namespace reference {
void GateSums(const GateSumsArgs& args);
}  // namespace reference
namespace cpu {
absl::Status GateSums(const GateSumsArgs& args);
}  // namespace cpu
namespace cuda {
absl::Status GateSums(const GateSumsArgs& args, Stream stream);
}  // namespace cuda

}  // namespace sluice
