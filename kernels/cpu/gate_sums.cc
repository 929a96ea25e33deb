// One thread: a look at the gates is rare, and takes far less than the gates' own products.
#include "kernels/api/gate_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gate_sums.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/api/gate_entropy.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// Scalar code, which the compiler makes vectors of the instruction set of; nothing is fused.
HWY_ATTR void GateEntropies(const double* gates, int64_t count, double* entropies) {
  for (int64_t i = 0; i < count; ++i) entropies[i] = GateEntropy<PlainArithmetic>(gates[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <bit>

#include "core/check.h"

namespace sluice {

HWY_EXPORT(GateEntropies);

namespace cpu {
namespace {

constexpr int64_t kHalfMask = (int64_t{1} << kGateHalfBits) - 1;
constexpr int64_t kBlock = 256;  // gates whose entropies are computed together

int64_t ToUnits(double value) { return static_cast<int64_t>(value * kGateUnits + 0.5); }

void AddGate(float gate, double entropy, const GateSumsArgs& args, int64_t cell) {
  int64_t* sums = args.sums + cell * kGateSums;
  int64_t* extremes = args.extremes + cell * 2;
  const double value = gate;
  const int64_t units = ToUnits(value), square = ToUnits(value * value);
  const int64_t entropy_units = ToUnits(entropy);
  sums[kGateCount] += 1;
  sums[kGateValueHigh] += units >> kGateHalfBits;
  sums[kGateValueLow] += units & kHalfMask;
  sums[kGateSquareHigh] += square >> kGateHalfBits;
  sums[kGateSquareLow] += square & kHalfMask;
  sums[kGateEntropyHigh] += entropy_units >> kGateHalfBits;
  sums[kGateEntropyLow] += entropy_units & kHalfMask;
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

// Gates [begin, begin + count) of row n, at most a block.
void AddBlock(const GateSumsArgs& args, int64_t n, int64_t begin, int64_t count) {
  const float* gates = args.gate + n * args.row_stride + begin;
  double values[kBlock], entropies[kBlock];
  for (int64_t i = 0; i < count; ++i) values[i] = gates[i] >= 0 && gates[i] <= 1 ? gates[i] : 0;
  HWY_DYNAMIC_DISPATCH(GateEntropies)(values, count, entropies);
  for (int64_t i = 0; i < count; ++i) {
    if (!(gates[i] >= 0 && gates[i] <= 1)) {  // NaN too
      args.totals[kTotalRejected] += 1;
      continue;
    }
    const int64_t head = (begin + i) / args.gates_per_head;
    AddGate(gates[i], entropies[i], args, head * args.classes + args.token_class[n]);
  }
}

}  // namespace

absl::Status GateSums(const GateSumsArgs& args) {
  const int64_t width = args.H * args.gates_per_head;
  for (int64_t n = 0; n < args.N; ++n) {
    if (args.token_class[n] == kUncountedToken) continue;
    CHECK_LT(args.token_class[n], args.classes);
    for (int64_t begin = 0; begin < width; begin += kBlock) {
      AddBlock(args, n, begin, std::min(kBlock, width - begin));
    }
  }
  return absl::OkStatus();
}

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
