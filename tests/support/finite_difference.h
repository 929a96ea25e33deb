// Gradients by central differences in double, to judge the reference's backward.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::testing {

// Compares gradient[i] with (loss(+h) - loss(-h)) / 2h, where loss() reads `values`, for at most
// `samples` elements spread over the range. With h = 1e-5 of the values' scale (about 1) truncation
// is h² · |f'''| / 6 ≈ 1e-10 and cancellation 1e-16 · |loss| / h ≈ 1e-10: 1e-7 leaves room for
// large derivatives and still finds any wrong term.
template <typename Loss>
void ExpectGradient(const std::string& name, std::vector<double>& values,
                    const std::vector<double>& gradient, const Loss& loss, int64_t samples = 40) {
  ASSERT_EQ(values.size(), gradient.size()) << name;
  const auto count = static_cast<int64_t>(values.size());
  const int64_t step = count <= samples ? 1 : count / samples;
  const double h = 1e-5;
  for (int64_t i = 0; i < count; i += step) {
    const double before = values[i];
    values[i] = before + h;
    const double above = loss();
    values[i] = before - h;
    const double below = loss();
    values[i] = before;
    const double numeric = (above - below) / (2 * h);
    EXPECT_NEAR(gradient[i], numeric, 1e-7 * (1 + std::abs(numeric))) << name << "[" << i << "]";
  }
}

}  // namespace sluice::testing
