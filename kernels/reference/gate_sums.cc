#include "kernels/api/gate_sums.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sluice::reference {
namespace {

void AddInHalves(double value, int64_t& high, int64_t& low) {
  const int64_t units = std::llround(std::ldexp(value, 48));
  high += units / (1 << 24);
  low += units % (1 << 24);
}

double Entropy(double gate) {
  if (gate == 0 || gate == 1) return 0;
  return -gate * std::log(gate) - (1 - gate) * std::log1p(-gate);
}

}  // namespace

void GateSums(const GateSumsArgs& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    if (args.token_class[n] == kUncountedToken) continue;
    for (int64_t h = 0; h < args.H; ++h) {
      const int64_t cell = h * args.classes + args.token_class[n];
      int64_t* sums = args.sums + cell * kGateSums;
      int64_t* extremes = args.extremes + cell * 2;
      for (int64_t i = 0; i < args.gates_per_head; ++i) {
        const double gate = args.gate[n * args.row_stride + h * args.gates_per_head + i];
        if (std::isnan(gate) || gate < 0 || gate > 1) {
          ++args.totals[kTotalRejected];
          continue;
        }
        ++sums[kGateCount];
        ++args.totals[kTotalCount];
        AddInHalves(gate, sums[kGateValueHigh], sums[kGateValueLow]);
        AddInHalves(gate, args.totals[kTotalValueHigh], args.totals[kTotalValueLow]);
        AddInHalves(gate * gate, sums[kGateSquareHigh], sums[kGateSquareLow]);
        AddInHalves(Entropy(gate), sums[kGateEntropyHigh], sums[kGateEntropyLow]);
        if (gate < args.below) ++sums[kGatesBelow];
        if (gate > args.above) ++sums[kGatesAbove];
        ++sums[kGateHistogram + (gate == 1 ? kGateBins - 1 : static_cast<int>(gate * kGateBins))];
        const auto bits = std::bit_cast<int32_t>(static_cast<float>(std::abs(gate)));
        extremes[0] = std::max<int64_t>(extremes[0], bits);
        extremes[1] = std::max<int64_t>(extremes[1], -static_cast<int64_t>(bits));
      }
    }
  }
}

}  // namespace sluice::reference
