// How far the losses of one run may be from another's, where they round to different types.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "support/compare.h"

namespace sluice::testing {

// The largest |a[i] - b[i]|, in nats; both of one length.
inline double LargestDistance(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

// What one rounding to T, of all that the model has to say about its inputs (the losses' range),
// does to a loss, in nats.
template <typename T>
double EffectOfOneRounding(const std::vector<double>& losses) {
  if (losses.empty()) return 0;
  const auto [least, most] = std::ranges::minmax(losses);
  return UnitRoundoff<T>() * (most - least);
}

// bf16 on another device may be as far from the fp32 run as rounding takes the CPU's own bf16. That
// is one draw, another on every kind of processor and small by luck on some, so the effect of one
// rounding comes on top.
inline Tolerance AsFarAsTheCpu(const std::vector<double>& cpu_losses,
                               const std::vector<double>& fp32_losses) {
  return {.absolute =
              2 * LargestDistance(cpu_losses, fp32_losses) + EffectOfOneRounding<bf16>(fp32_losses),
          .derivation = "twice the CPU's largest distance from fp32 + 2⁻⁸ · range of losses"};
}

inline void ExpectAsFarAsTheCpu(const std::string& name, const std::vector<double>& losses,
                                const std::vector<double>& cpu_losses,
                                const std::vector<double>& fp32_losses) {
  ExpectClose(name, losses, fp32_losses, AsFarAsTheCpu(cpu_losses, fp32_losses));
}

}  // namespace sluice::testing
