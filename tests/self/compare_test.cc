// The comparer judges everything else, so what it must reject is tested first.
#include "support/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
const Tolerance kWide{.absolute = 1e9, .relative = 1e9, .derivation = "accepts any finite number"};
const Tolerance kTight{.absolute = 1e-6, .derivation = "one part in a million"};
const Tolerance kNone{.derivation = "equal"};

ComparisonResult CompareDoubles(const std::vector<double>& actual,
                                const std::vector<double>& expected, const Tolerance& tolerance) {
  return Compare(std::span<const double>(actual), std::span<const double>(expected), tolerance);
}

std::vector<double> Ramp(int count) {
  std::vector<double> values(count);
  std::iota(values.begin(), values.end(), 1.0);
  return values;
}

TEST(Compare, AcceptsWhatIsWithinTheBound) {
  const ComparisonResult result = CompareDoubles({1, 2, 3 + 5e-7}, {1, 2, 3}, kTight);
  EXPECT_TRUE(result.equal) << result.message;
  EXPECT_NEAR(result.share_used, 0.5, 1e-3);
  EXPECT_EQ(result.worst_index, 2);
}

TEST(Compare, RejectsWhatIsBeyondTheBound) {
  const ComparisonResult result = CompareDoubles({1, 2, 3 + 2e-6}, {1, 2, 3}, kTight);
  EXPECT_FALSE(result.equal);
  EXPECT_EQ(result.worst_index, 2);
  EXPECT_THAT(result.message, HasSubstr("differs at 2"));
}

TEST(Compare, RejectsNaNOnEitherSideAndAnywhere) {
  for (int at : {0, 3, 6}) {
    std::vector<double> bad = Ramp(7);
    bad[at] = kNaN;
    EXPECT_FALSE(CompareDoubles(bad, Ramp(7), kWide).equal) << at;
    EXPECT_FALSE(CompareDoubles(Ramp(7), bad, kWide).equal) << at;
    const ComparisonResult both = CompareDoubles(bad, bad, kWide);
    EXPECT_FALSE(both.equal) << at;
    EXPECT_EQ(both.worst_index, at);
  }
}

TEST(Compare, RejectsInfinitiesEvenWhenTheyAgree) {
  EXPECT_FALSE(CompareDoubles({1, kInfinity}, {1, 2}, kWide).equal);
  EXPECT_FALSE(CompareDoubles({1, 2}, {1, -kInfinity}, kWide).equal);
  EXPECT_FALSE(CompareDoubles({kInfinity, 1}, {kInfinity, 1}, kWide).equal);
}

TEST(Compare, RejectsATinyErrorAfterAHugeAcceptedOne) {
  // The second value decides although the first has the larger absolute difference.
  const Tolerance relative{.relative = 1e-6, .derivation = "relative only"};
  EXPECT_FALSE(CompareDoubles({1e9 + 1, 1 + 1e-5}, {1e9, 1}, relative).equal);
  EXPECT_TRUE(CompareDoubles({1e9 + 1, 1 + 1e-7}, {1e9, 1}, relative).equal);
}

TEST(Compare, RejectsTheOppositeSign) {
  const Tolerance relative{.relative = 0.5, .derivation = "half of the expected value"};
  EXPECT_FALSE(CompareDoubles({-500}, {500}, relative).equal);
  EXPECT_FALSE(CompareDoubles({-500}, {-5}, relative).equal);
  EXPECT_FALSE(CompareDoubles({5}, {-5}, relative).equal);
  EXPECT_TRUE(CompareDoubles({-6}, {-5}, relative).equal);
}

TEST(Compare, ZeroToleranceMeansEqual) {
  EXPECT_TRUE(CompareDoubles({1, -2}, {1, -2}, kNone).equal);
  EXPECT_FALSE(CompareDoubles({1, -2}, {1, std::nextafter(-2.0, 0.0)}, kNone).equal);
  EXPECT_FALSE(CompareDoubles({1, 1e-300}, {1, 0}, kNone).equal);
}

TEST(Compare, RejectsABoundThatIsNoBound) {
  for (double bound : {kNaN, kInfinity, -1.0, -kInfinity}) {
    const Tolerance absolute{.absolute = bound, .derivation = "wrong"};
    EXPECT_FALSE(CompareDoubles({1.5, 2}, {1, 2}, absolute).equal) << bound;
    EXPECT_FALSE(CompareDoubles({1, 2}, {1, 2}, absolute).equal) << bound;
    const Tolerance relative{.relative = bound, .derivation = "wrong"};
    EXPECT_FALSE(CompareDoubles({1.5, 2}, {1, 2}, relative).equal) << bound;
  }
}

TEST(Compare, RejectsDifferentSizes) {
  EXPECT_FALSE(CompareDoubles({1, 2}, {1, 2, 3}, kWide).equal);
  EXPECT_FALSE(CompareDoubles({1, 2, 3}, {1, 2}, kWide).equal);
  EXPECT_FALSE(CompareDoubles({}, {1}, kWide).equal);
}

TEST(Compare, MistrustsMostlyZeros) {
  std::vector<double> zeros(100, 0.0);
  EXPECT_THAT(CompareDoubles(zeros, std::vector<double>(100, 0.0), kTight).message,
              HasSubstr("mistrusted"));
  EXPECT_TRUE(CompareDoubles(zeros, std::vector<double>(100, 0.0), kTight.WithZeros()).equal);
  for (int i = 0; i < 10; ++i) zeros[i] = 1;  // 90 % zeros: just enough to look at
  const std::vector<double> same = zeros;
  EXPECT_TRUE(CompareDoubles(zeros, same, kTight).equal);
}

TEST(Compare, RejectsOverlappingMemory) {
  const std::vector<float> values(20, 1.0f);
  const std::span<const float> all(values);
  EXPECT_THAT(Compare(all, all, kWide).message, HasSubstr("overlap"));
  EXPECT_THAT(Compare(all.first(12), all.last(12), kWide).message, HasSubstr("overlap"));
  EXPECT_THAT(Compare(all.last(1), all, kWide).message, HasSubstr("overlap"));
  EXPECT_TRUE(Compare(all.first(10), all.last(10), kWide).equal);
}

TEST(Compare, WidensStorageTypesExactly) {
  const std::vector<bf16> actual = Cast<bf16>({1, 2, 3});
  EXPECT_TRUE(Compare(std::span<const bf16>(actual),
                      std::span<const double>(std::vector<double>{1, 2, 3}), kNone)
                  .equal);
}

TEST(ExpectClose, FailsTheRunningTest) {
  static const std::vector<double> one{1}, two{2}, nan{kNaN};
  EXPECT_NONFATAL_FAILURE(ExpectClose("y", one, two, kTight), "differs at 0");
  EXPECT_NONFATAL_FAILURE(ExpectClose("y", one, nan, kTight), "not finite");
  ExpectClose("y", one, std::vector<double>{1}, kTight);
}

TEST(ExpectSameBits, TellsMinusZeroFromZeroAndRejectsNaN) {
  static const std::vector<float> zero{0.0f}, minus_zero{-0.0f},
      nan{std::numeric_limits<float>::quiet_NaN()}, other_nan = nan;
  using Values = std::span<const float>;
  EXPECT_FATAL_FAILURE(ExpectSameBits("y", Values(zero), Values(minus_zero)), "y[0]");
  EXPECT_FATAL_FAILURE(ExpectSameBits("y", Values(nan), Values(other_nan)), "y[0]");
  EXPECT_FATAL_FAILURE(ExpectSameBits("y", Values(zero), Values(zero)), "same memory");
}

template <typename T>
class PoisonedBufferTest : public ::testing::Test {};
using StorageTypes = ::testing::Types<float, bf16, double>;
TYPED_TEST_SUITE(PoisonedBufferTest, StorageTypes);

TYPED_TEST(PoisonedBufferTest, UnwrittenValuesAreNaNAndFailTheComparison) {
  PoisonedBuffer<TypeParam> buffer(33);
  for (int64_t i = 0; i < buffer.size(); ++i) {
    EXPECT_TRUE(std::isnan(static_cast<double>(buffer[i]))) << i;
  }
  for (int64_t i = 0; i + 1 < buffer.size(); ++i) buffer[i] = TypeParam(1.0f);
  const ComparisonResult result =
      Compare(buffer.values(), std::span<const double>(std::vector<double>(33, 1.0)), kWide);
  EXPECT_FALSE(result.equal) << "the last value was never written";
  EXPECT_EQ(result.worst_index, 32);
}

TYPED_TEST(PoisonedBufferTest, CanariesSeeAWriteOnEitherSide) {
  for (int64_t misalignment : {int64_t{0}, static_cast<int64_t>(sizeof(TypeParam))}) {
    for (int64_t offset : {-1, -2, 7, 8}) {
      PoisonedBuffer<TypeParam> buffer(7, misalignment);
      for (int64_t i = 0; i < 7; ++i) buffer[i] = TypeParam(1.0f);
      EXPECT_TRUE(buffer.CanariesIntact());
      buffer.data()[offset] = TypeParam(1.0f);
      EXPECT_FALSE(buffer.CanariesIntact()) << "offset " << offset << ", " << misalignment;
    }
  }
}

TYPED_TEST(PoisonedBufferTest, StandsWhereItIsTold) {
  PoisonedBuffer<TypeParam> aligned(5);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(aligned.data()) % 64, 0u);
  PoisonedBuffer<TypeParam> shifted(5, sizeof(TypeParam));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(shifted.data()) % 64, sizeof(TypeParam));
}

TEST(PoisonedBuffer, ExpectCanariesIntactFailsTheRunningTest) {
  static PoisonedBuffer<float> buffer(3);
  buffer.ExpectCanariesIntact();
  buffer.data()[3] = 0;
  EXPECT_NONFATAL_FAILURE(buffer.ExpectCanariesIntact(), "outside of its buffer");
}

// A sum in float, term by term, of values that all round badly.
TEST(Tolerance, ForSumHoldsForAFloatSumAndIsNotFarTooWide) {
  for (int64_t terms : {1, 10, 1000, 100000}) {
    const std::vector<double> values = RandomValues(terms, 7, 0, 1);
    float sum = 0;
    double exact = 0, magnitude = 0;
    for (double value : values) {
      const auto rounded = static_cast<float>(value);
      sum += rounded;
      exact += static_cast<double>(rounded);
      magnitude += std::abs(static_cast<double>(rounded));
    }
    const Tolerance tolerance = Tolerance::ForSum<float>(terms, magnitude);
    const double error = std::abs(static_cast<double>(sum) - exact);
    EXPECT_LE(error, tolerance.absolute) << terms;
    EXPECT_LE(tolerance.absolute, 2e-7 * static_cast<double>(terms + 2) * magnitude) << terms;
    EXPECT_THAT(tolerance.derivation, HasSubstr("gamma"));
  }
}

TEST(Tolerance, GrowsWithTermsAndMagnitudeAndTheRoundingOfTheResult) {
  const Tolerance base = Tolerance::ForSum<float>(10, 1);
  EXPECT_GT(Tolerance::ForSum<float>(100, 1).absolute, 5 * base.absolute);
  EXPECT_NEAR(Tolerance::ForSum<float>(10, 3).absolute / base.absolute, 3, 1e-6);
  EXPECT_EQ(base.relative, 0x1p-24);
  EXPECT_EQ(Tolerance::ForSum<bf16>(10, 1).relative, 0x1p-8);
  EXPECT_LT(Tolerance::ForSum<double>(10, 1).absolute, 1e-14);
}

TEST(Tolerance, OneRoundingOfAStorageTypeIsWithinItsRoundoff) {
  for (double value : RandomValues(2000, 11, -8, 8)) {
    const auto as_float = static_cast<float>(value);
    EXPECT_LE(std::abs(static_cast<double>(bf16(as_float)) - as_float),
              UnitRoundoff<bf16>() * std::abs(as_float));
    EXPECT_LE(std::abs(static_cast<double>(as_float) - value),
              UnitRoundoff<float>() * std::abs(value));
  }
}

TEST(RandomValues, AreAFunctionOfTheSeedAndCoverTheRange) {
  const std::vector<double> values = RandomValues(5000, 3, -2, 4);
  EXPECT_EQ(values, RandomValues(5000, 3, -2, 4));
  EXPECT_NE(values, RandomValues(5000, 4, -2, 4));
  EXPECT_LT(*std::min_element(values.begin(), values.end()), -1.9);
  EXPECT_GT(*std::max_element(values.begin(), values.end()), 3.9);
  EXPECT_NEAR(std::accumulate(values.begin(), values.end(), 0.0) / 5000, 1, 0.1);
}

TEST(TemporaryFolder, IsThereAndIsRemovedWithWhatIsInIt) {
  std::string path;
  {
    const TemporaryFolder folder;
    path = folder.path();
    std::ofstream(path + "/file") << "text";
    EXPECT_TRUE(std::filesystem::exists(path + "/file"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace sluice::testing
