#include "kernels/api/row_moments.h"

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(RowMoments, RowMomentsArgs);

using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::OnBackend;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::Tolerance;
using ::sluice::testing::Widen;

template <typename T>
class RowMomentsTest : public ::testing::Test {};
TYPED_TEST_SUITE(RowMomentsTest, ::sluice::testing::StorageTypes);

constexpr int64_t kMoments = sizeof(RowMomentSums) / sizeof(double);

struct Case {
  int64_t N, C, group, further;  // columns between rows
};

// (N, kMoments) and (N / group, C), poisoned before.
struct Results {
  PoisonedBuffer<double> moments, squares;

  explicit Results(const Case& c)
      : moments(c.N * kMoments, sizeof(double)), squares(c.N / c.group * c.C, sizeof(double)) {}
};

template <typename T>
RowMomentsArgs<T> Arguments(const Case& c, const T* x, double* moments, double* squares) {
  return {.x = x,
          .moments = reinterpret_cast<RowMomentSums*>(moments),
          .squares = squares,
          .N = c.N,
          .C = c.C,
          .group = c.group,
          .row_stride = c.C + c.further};
}

// Values between -2 and 3, of which one channel is nine times as large.
std::vector<double> Values(const Case& c) {
  const int64_t stride = c.C + c.further;
  std::vector<double> values = RandomValues(c.N * stride, c.C, -2, 3);
  for (int64_t n = 0; n < c.N; ++n) values[n * stride + c.C / 2] *= 9;
  return values;
}

TEST(RowMomentsReferenceTest, ByHand) {
  const double x[] = {1, -3, 5, 2, 2, 2};
  RowMomentSums moments[2];
  double squares[3];
  reference::RowMoments({x, moments, squares, 2, 3, 2, 3});
  EXPECT_DOUBLE_EQ(moments[0].mean, 1);
  EXPECT_EQ(moments[0].largest, 5);
  EXPECT_DOUBLE_EQ(moments[0].second, 0 + 16 + 16);
  EXPECT_NEAR(moments[0].third, 0 - 64 + 64, 1e-12);
  EXPECT_DOUBLE_EQ(moments[0].fourth, 256 + 256);
  EXPECT_EQ(moments[1].second, 0);
  EXPECT_EQ(squares[0], 1 + 4);
  EXPECT_EQ(squares[1], 9 + 4);
  EXPECT_EQ(squares[2], 25 + 4);
}

// Sums of absolute values, which errors are shares of: mean |x|, and Σ |x - mean|^k.
double Magnitude(const double* row, int64_t C, double mean, int64_t moment) {
  double sum = 0;
  for (int64_t c = 0; c < C; ++c) {
    sum += moment == 1 ? std::abs(row[c]) / static_cast<double>(C)
                       : std::pow(std::abs(row[c] - mean), moment);
  }
  return sum;
}

// Moment k of each row, as shares of their magnitudes; maxima as they are.
std::vector<double> Shares(const Case& c, const std::vector<double>& x,
                           std::span<const double> moments, int64_t moment) {
  std::vector<double> shares(c.N);
  for (int64_t n = 0; n < c.N; ++n) {
    const double* row = &x[n * (c.C + c.further)];
    double mean = 0;
    for (int64_t i = 0; i < c.C; ++i) mean += row[i] / static_cast<double>(c.C);
    const double magnitude = moment == 0 ? 1 : Magnitude(row, c.C, mean, moment);
    shares[n] = moments[n * kMoments + moment];
    if (magnitude > 0) shares[n] /= magnitude;
  }
  return shares;
}

// A sum of C terms is off by u C of its magnitude, the mean in a k-th power by k times that, and
// the power's own roundings are 2 k.
Tolerance ToleranceOf(const Case& c, int64_t moment) {
  if (moment == 0) return {.derivation = "a maximum is one of the values"};
  const auto k = static_cast<double>(moment), columns = static_cast<double>(c.C);
  return {.absolute = 0x1p-53 * (2 * k + columns * (moment == 1 ? 1 : k + 1)),
          .zeros_expected = true,
          .derivation = "u (2 k + (k + 1) C) of the sum of absolute values"};
}

TYPED_TEST(RowMomentsTest, MatchesReference) {
  using T = TypeParam;
  testing::OnEachInstructionSet([] {
    for (const Case& c : {Case{1, 1, 1, 0}, Case{6, 2, 3, 0}, Case{4, 7, 2, 3}, Case{4, 8, 4, 0},
                          Case{9, 9, 3, 1}, Case{34, 15, 17, 0}, Case{2, 16, 1, 0},
                          Case{6, 17, 2, 5}, Case{3, 33, 1, 0}, Case{10, 768, 5, 0}}) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(::testing::Message() << "N " << c.N << " C " << c.C << " group " << c.group
                                          << " threads " << threads);
        const ScopedComputeThreads scope(threads);
        const auto x = OnBackend(Cast<T>(Values(c)));
        const auto wide = Widen(x);
        Results actual(c), expected(c);
        ASSERT_TRUE(backend::RowMoments<T>(
                        Arguments(c, x.data(), actual.moments.data(), actual.squares.data()))
                        .ok());
        actual.moments.ExpectCanariesIntact();
        actual.squares.ExpectCanariesIntact();
        reference::RowMoments(
            Arguments(c, wide.data(), expected.moments.data(), expected.squares.data()));
        const std::vector<double> values(wide.begin(), wide.end());
        const char* names[] = {"largest", "mean", "second", "third", "fourth"};
        for (int64_t moment = 0; moment < kMoments; ++moment) {
          ExpectClose(names[moment], Shares(c, values, actual.moments.values(), moment),
                      Shares(c, values, expected.moments.values(), moment), ToleranceOf(c, moment));
        }
        ExpectClose("squares", actual.squares.values(), expected.squares.values(),
                    {.derivation = "squares are exact, and added in the same order"});
      }
    }
  });
}

TYPED_TEST(RowMomentsTest, WhatIsNoNumberShows) {
  using T = TypeParam;
  const Case c = {3, 20, 1, 0};
  std::vector<double> values = Values(c);
  values[4] = std::numeric_limits<double>::quiet_NaN();
  values[c.C + 5] = std::numeric_limits<double>::infinity();
  const auto x = OnBackend(Cast<T>(values));
  Results results(c);
  ASSERT_TRUE(
      backend::RowMoments<T>(Arguments(c, x.data(), results.moments.data(), results.squares.data()))
          .ok());
  const auto* moments = reinterpret_cast<const RowMomentSums*>(results.moments.data());
  EXPECT_TRUE(std::isnan(moments[0].largest));
  EXPECT_TRUE(std::isnan(moments[0].fourth));
  EXPECT_TRUE(std::isinf(moments[1].largest));
  EXPECT_TRUE(std::isnan(moments[1].fourth));
  EXPECT_TRUE(std::isfinite(moments[2].largest) && std::isfinite(moments[2].fourth));
}

// Rows are alone: another number of them, and another place of the first, change no bit of one.
TYPED_TEST(RowMomentsTest, ARowsBitsAreItsOwn) {
  using T = TypeParam;
  const Case all = {40, 50, 1, 0}, one = {1, 50, 1, 0};
  const auto x = OnBackend(Cast<T>(Values(all)));
  Results together(all), alone(one);
  ASSERT_TRUE(backend::RowMoments<T>(
                  Arguments(all, x.data(), together.moments.data(), together.squares.data()))
                  .ok());
  ASSERT_TRUE(backend::RowMoments<T>(
                  Arguments(one, x.data() + 27 * all.C, alone.moments.data(), alone.squares.data()))
                  .ok());
  for (int64_t moment = 0; moment < kMoments; ++moment) {
    EXPECT_EQ(alone.moments.values()[moment], together.moments.values()[27 * kMoments + moment]);
  }
}

}  // namespace
}  // namespace sluice
