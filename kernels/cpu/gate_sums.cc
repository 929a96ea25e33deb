// One thread: a look at the gates is rare, and takes far less than the gates' own products.
#include "kernels/api/gate_sums.h"

#include <algorithm>
#include <bit>

#include "core/check.h"

namespace sluice::cpu {
namespace {

constexpr int64_t kHalfMask = (int64_t{1} << kGateHalfBits) - 1;

int64_t ToUnits(double value) { return static_cast<int64_t>(value * kGateUnits + 0.5); }

void AddGate(float gate, const GateSumsArgs& args, int64_t cell) {
  int64_t* sums = args.sums + cell * kGateSums;
  int64_t* extremes = args.extremes + cell * 2;
  const double value = gate;
  const int64_t units = ToUnits(value), square = ToUnits(value * value);
  sums[kGateCount] += 1;
  sums[kGateValueHigh] += units >> kGateHalfBits;
  sums[kGateValueLow] += units & kHalfMask;
  sums[kGateSquareHigh] += square >> kGateHalfBits;
  sums[kGateSquareLow] += square & kHalfMask;
  sums[kGatesBelow] += value < args.below;
  sums[kGatesAbove] += value > args.above;
  sums[kGateHistogram + std::min(static_cast<int>(gate * kGateBins), kGateBins - 1)] += 1;
  // Bits of floats that are not negative are ordered as the floats are.
  const int64_t bits = std::bit_cast<int32_t>(gate + 0.0f);  // -0 becomes 0
  extremes[0] = std::max(extremes[0], bits);
  extremes[1] = std::max(extremes[1], -bits);
  args.totals[kTotalCount] += 1;
  args.totals[kTotalValueHigh] += units >> kGateHalfBits;
  args.totals[kTotalValueLow] += units & kHalfMask;
}

}  // namespace

absl::Status GateSums(const GateSumsArgs& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    if (args.token_class[n] == kUncountedToken) continue;
    CHECK_LT(args.token_class[n], args.classes);
    const float* gates = args.gate + n * args.row_stride;
    for (int64_t i = 0; i < args.H * args.gates_per_head; ++i) {
      if (!(gates[i] >= 0 && gates[i] <= 1)) {  // NaN too
        args.totals[kTotalRejected] += 1;
        continue;
      }
      AddGate(gates[i], args, i / args.gates_per_head * args.classes + args.token_class[n]);
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice::cpu
