#include "quantize/uniform_quantizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/compare.h"

namespace sluice {
namespace {

std::vector<int> Codes(const UniformQuantizer& quantizer, const std::vector<float>& values) {
  std::vector<int> codes;
  for (const float x : values) codes.push_back(quantizer.Code(x));
  return codes;
}

TEST(UniformQuantizerTest, GoldenAsymmetric) {
  const UniformQuantizer quantizer = UniformQuantizer::Asymmetric({-1, 3}, 8);
  EXPECT_NEAR(quantizer.scale(), 0.0156862745, 1e-9);
  EXPECT_EQ(quantizer.zero_point(), 64);  // of 63.75
  EXPECT_EQ(Codes(quantizer, {-1.2f, -1, -0.3f, 0, 0.01f, 1.5f, 3, 4}),
            (std::vector<int>{0, 0, 45, 64, 65, 160, 255, 255}));
  EXPECT_EQ(quantizer.Quantize(0), 0);
  EXPECT_FLOAT_EQ(quantizer.Quantize(1.5f), 96 * quantizer.scale());
}

// A model that has diverged: what comes out says so, and is defined.
TEST(UniformQuantizerTest, RangesThatAreNotFiniteHaveCodes) {
  const float nan = std::nanf(""), infinity = INFINITY;
  for (const ValueRange& range : {ValueRange{nan, nan}, ValueRange{-infinity, infinity}}) {
    EXPECT_EQ(UniformQuantizer::Asymmetric(range, 8).zero_point(), 0);
  }
}

TEST(UniformQuantizerTest, GoldenSymmetric) {
  const UniformQuantizer quantizer = UniformQuantizer::Symmetric({-0.5f, 0.51f}, 8);
  EXPECT_NEAR(quantizer.scale(), 0.0040157480, 1e-9);
  EXPECT_EQ(Codes(quantizer, {-0.5f, -0.1f, 0, 0.2f, 0.51f}),
            (std::vector<int>{-125, -25, 0, 50, 127}));
  EXPECT_EQ(quantizer.Code(-9), -128);
}

// LayerNorm's gammas: all positive, so no code is spent on a sign.
TEST(UniformQuantizerTest, SymmetricOfNonNegativeIsUnsigned) {
  const UniformQuantizer quantizer = UniformQuantizer::Symmetric({0.2f, 2.55f}, 8);
  EXPECT_FLOAT_EQ(quantizer.scale(), 0.01f);
  EXPECT_EQ(Codes(quantizer, {-1, 0.2f, 2.55f, 9}), (std::vector<int>{0, 20, 255, 255}));
}

TEST(UniformQuantizerTest, HalvesGoToEven) {
  const UniformQuantizer quantizer = UniformQuantizer::Symmetric({-127, 127}, 8);
  EXPECT_EQ(quantizer.scale(), 1);
  EXPECT_EQ(Codes(quantizer, {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f}),
            (std::vector<int>{0, 2, 2, 0, -2, -2}));
}

// Against the formula as it is written: round first, then clamp.
TEST(UniformQuantizerTest, EveryWidthIsTheFormula) {
  for (int bits = kFewestBits; bits <= kMostBits; ++bits) {
    const float largest = static_cast<float>((1 << bits) - 1);
    const UniformQuantizer quantizer = UniformQuantizer::Asymmetric({-0.7f, 1.9f}, bits);
    for (const double value : testing::RandomValues(500, bits, -1.5, 2.5)) {
      const float x = static_cast<float>(value);
      const float code = std::clamp(
          std::nearbyint(x / quantizer.scale()) + static_cast<float>(quantizer.zero_point()), 0.0f,
          largest);
      ASSERT_EQ(quantizer.Code(x), static_cast<int>(code)) << bits << " bits of " << x;
      ASSERT_EQ(quantizer.Quantize(x),
                quantizer.scale() * (code - static_cast<float>(quantizer.zero_point())));
    }
  }
}

TEST(UniformQuantizerTest, RangesOfNothing) {
  for (const ValueRange range : {ValueRange{0, 0}, ValueRange{-1e-30f, 1e-30f}}) {
    const UniformQuantizer quantizer = UniformQuantizer::Asymmetric(range, 8);
    EXPECT_EQ(quantizer.scale(), 1e-8f);
    EXPECT_EQ(quantizer.Quantize(0), 0);
  }
  // All below zero: 0 is in the range all the same.
  EXPECT_EQ(UniformQuantizer::Asymmetric({-3, -2}, 8).Quantize(0), 0);
}

TEST(UniformQuantizerTest, WhatIsNoNumberStaysNone) {
  EXPECT_TRUE(std::isnan(UniformQuantizer::Asymmetric({-1, 1}, 8).Quantize(NAN)));
  EXPECT_FLOAT_EQ(UniformQuantizer::Asymmetric({0, 2.55f}, 8).Quantize(INFINITY), 2.55f);
}

}  // namespace
}  // namespace sluice
