// One thread: a look at the gates is rare, and takes far less than the gates' own products.
#include "kernels/api/gate_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gate_sums.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "core/binary_entropy.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// Whose vectors have no fused operations.
void GateEntropies(const double* gates, int64_t count, double* entropies) {
  for (int64_t i = 0; i < count; ++i) entropies[i] = BinaryEntropy(gates[i]);
}
#else
// What is in core/binary_entropy.h, operation by operation.
template <class D>
HWY_INLINE hn::Vec<D> LogarithmOfVector(D d, hn::Vec<D> x) {
  const hn::RebindToUnsigned<D> du;
  const auto number = [&](double value) HWY_ATTR { return hn::Set(d, value); };
  constexpr uint64_t kRootOfHalf = 0x3FE6A09E667F3BCD, kBias = 1024;
  const auto bits = hn::BitCast(du, x);
  const auto biased = hn::ShiftRight<52>(hn::Add(bits, hn::Set(du, (kBias << 52) - kRootOfHalf)));
  const auto m =
      hn::BitCast(d, hn::Add(hn::Sub(bits, hn::ShiftLeft<52>(biased)), hn::Set(du, kBias << 52)));
  const auto two_to_52 = number(0x1p52);
  const auto e = hn::Sub(hn::BitCast(d, hn::Add(hn::BitCast(du, two_to_52), biased)),
                         number(0x1p52 + static_cast<double>(kBias)));
  const auto divisor = hn::Add(m, number(1));
  auto reciprocal = hn::MulAdd(number(-0.24264), divisor, number(0.9926));
  for (int round = 0; round < 4; ++round) {
    reciprocal = hn::MulAdd(reciprocal, hn::NegMulAdd(divisor, reciprocal, number(1)), reciprocal);
  }
  const auto s = hn::Mul(hn::Sub(m, number(1)), reciprocal);
  const auto square = hn::Mul(s, s);
  auto sum = number(1.0 / 21);
  for (int k = 19; k >= 1; k -= 2) sum = hn::MulAdd(sum, square, number(1.0 / k));
  return hn::MulAdd(e, number(0.69314718055994530942), hn::Mul(hn::Add(s, s), sum));
}

// `count` is rounded up to whole vectors.
void GateEntropies(const double* gates, int64_t count, double* entropies) {
  const hn::CappedTag<double, 8> d;
  const auto tiny = hn::Set(d, 0x1p-200);
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto g = hn::LoadU(d, gates + i);
    const auto rest = hn::Sub(hn::Set(d, 1), g);
    const auto shut = hn::Mul(rest, LogarithmOfVector(d, hn::Max(rest, tiny)));
    const auto sum = hn::MulAdd(g, LogarithmOfVector(d, hn::Max(g, tiny)), shut);
    hn::StoreU(hn::Neg(sum), d, entropies + i);
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <bit>

#include "core/check.h"
#include "core/integer_math.h"

namespace sluice {

HWY_EXPORT(GateEntropies);

namespace cpu {
namespace {

constexpr int64_t kHalfMask = (int64_t{1} << kGateHalfBits) - 1;
constexpr int64_t kMostLanes = 8;
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
  const auto is_gate = [](float x) { return x >= 0 && x <= 1; };  // not NaN either
  for (int64_t i = 0; i < count; ++i) values[i] = is_gate(gates[i]) ? gates[i] : 0;
  std::fill(values + count, values + RoundUp(count, kMostLanes), 0.0);
  HWY_DYNAMIC_DISPATCH(GateEntropies)(values, count, entropies);
  int64_t head = begin / args.gates_per_head;
  int64_t head_end = (head + 1) * args.gates_per_head - begin;
  for (int64_t i = 0; i < count; ++i) {
    if (i == head_end) {
      ++head;
      head_end += args.gates_per_head;
    }
    if (is_gate(gates[i])) {
      AddGate(gates[i], entropies[i], args, head * args.classes + args.token_class[n]);
    } else {
      args.totals[kTotalRejected] += 1;
    }
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
