#include "quantize/range_estimator.h"

#include <algorithm>
#include <cmath>

#include "support/compare.h"

namespace sluice {
namespace {

TensorView View(std::vector<float>& values, int64_t columns) {
  return TensorView::Of(values.data(), {std::ssize(values) / columns, columns});
}

TEST(RangeEstimatorTest, MinAndMaxOfAViewAlone) {
  std::vector<float> values = {9, 1, -2, 9, -9, 3, 0, 9};
  const ValueRange range = MinMaxRange(View(values, 4).Columns(1, 2));
  EXPECT_EQ(range.low, -2);
  EXPECT_EQ(range.high, 3);
  values[5] = NAN;
  EXPECT_TRUE(std::isnan(MinMaxRange(View(values, 4).Columns(1, 2)).low));
}

// numpy.percentile(range(11), [90, 10]) = 9, 1; of 0 … 4 the 90th is 3.6.
TEST(RangeEstimatorTest, PercentilesInterpolate) {
  std::vector<float> values = {10, 3, 1, 0, 2, 9, 8, 4, 5, 7, 6};
  ValueRange range = PercentileRange(View(values, 11), 90);
  EXPECT_FLOAT_EQ(range.low, 1);
  EXPECT_FLOAT_EQ(range.high, 9);
  std::vector<float> few = {4, 0, 3, 1, 2};
  range = PercentileRange(View(few, 1), 90);
  EXPECT_FLOAT_EQ(range.low, 0.4f);
  EXPECT_FLOAT_EQ(range.high, 3.6f);
  range = PercentileRange(View(few, 5), 100);
  EXPECT_EQ(range.low, 0);
  EXPECT_EQ(range.high, 4);
}

TEST(RangeEstimatorTest, RunningRangeTakesTheFirstAndThenFollows) {
  RunningRange range;
  EXPECT_FALSE(range.known());
  range.Update({-1, 4});
  EXPECT_EQ(range.range().low, -1);
  EXPECT_EQ(range.range().high, 4);
  range.Update({-2, 14});
  EXPECT_FLOAT_EQ(range.range().low, -1.1f);
  EXPECT_FLOAT_EQ(range.range().high, 5);
}

double NaiveError(const std::vector<float>& values, float limit, bool is_signed, int bits) {
  const int largest = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  const double scale = static_cast<double>(limit / static_cast<float>(largest));
  double error = 0;
  for (const float x : values) {
    const double code = std::clamp(std::nearbyint(static_cast<double>(x) / scale),
                                   is_signed ? -largest - 1.0 : 0.0, static_cast<double>(largest));
    error += std::pow(static_cast<double>(x) - scale * code, 2);
  }
  return error;
}

// The best of the hundred, searched in double: no other is better by more than rounding, and where
// R lies shows that the margin is there.
TEST(RangeEstimatorTest, LeastSquaresIsTheBestOfAHundred) {
  for (const bool is_signed : {true, false}) {
    for (const int bits : {2, 4, 8}) {
      std::vector<float> values;
      for (const double x : testing::RandomValues(4000, bits, is_signed ? -1 : 0, 1)) {
        values.push_back(static_cast<float>(0.3 * x * x * x));
      }
      const ValueRange range = LeastSquaresRange(View(values, 40), bits);
      EXPECT_EQ(range.low, is_signed ? -range.high : 0);
      const float largest =
          std::abs(*std::max_element(values.begin(), values.end(),
                                     [](float a, float b) { return std::abs(a) < std::abs(b); })) +
          0.5f;
      const float place = range.high / largest * 100;
      EXPECT_NEAR(place, std::round(place), 1e-4);
      double best = INFINITY;
      for (int c = 1; c <= 100; ++c) {
        best = std::min(best,
                        NaiveError(values, static_cast<float>(c) * largest / 100, is_signed, bits));
      }
      // A value in the middle of two steps may go either way: 1e-6 of the error.
      EXPECT_NEAR(NaiveError(values, range.high, is_signed, bits), best, 1e-6 * best);
      EXPECT_LT(best, NaiveError(values, largest - 0.5f, is_signed, bits) * 1.2);
    }
  }
}

}  // namespace
}  // namespace sluice
