#include "config/number_text.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

namespace sluice {
namespace {

TEST(ParseIntegerTest, TakesDecimalDigitsOnly) {
  EXPECT_EQ(ParseInteger("0")->magnitude, 0u);
  EXPECT_FALSE(ParseInteger("-0")->negative);
  EXPECT_TRUE(ParseInteger("-12")->negative);
  EXPECT_EQ(ParseInteger("+12")->magnitude, 12u);
  EXPECT_EQ(ParseInteger("18446744073709551615")->magnitude, std::numeric_limits<uint64_t>::max());
  for (const char* text : {"", "-", "+", "01", "-01", "1.0", "1e3", "0x1", "1_0", " 1", "1 ", "--1",
                           "18446744073709551616", "99999999999999999999"}) {
    EXPECT_FALSE(ParseInteger(text).has_value()) << text;
  }
}

TEST(ParseRealTest, TakesWhatCxxReads) {
  EXPECT_EQ(ParseReal("1e-4"), 1e-4);
  EXPECT_EQ(ParseReal("+1.5E+3"), 1500.0);
  EXPECT_EQ(ParseReal(".5"), 0.5);
  EXPECT_EQ(ParseReal("5."), 5.0);
  EXPECT_EQ(ParseReal("-3"), -3.0);
  for (const char* text : {"", "+", "-", ".", "e5", "1e", "1e999", "1e-999", "inf", "nan", ".inf",
                           "0x1p3", "1,5", "1_0", "+-1", "++1", " 1", "1 "}) {
    EXPECT_FALSE(ParseReal(text).has_value()) << text;
  }
}

TEST(RealTextTest, IsReadable) {
  EXPECT_EQ(RealText(0), "0.0");
  EXPECT_EQ(RealText(1), "1.0");
  EXPECT_EQ(RealText(0.0001), "0.0001");
  EXPECT_EQ(RealText(1e-12), "1.0e-12");
  EXPECT_EQ(RealText(2.5e-9), "2.5e-09");
  EXPECT_EQ(RealText(1e9), "1.0e+09");
}

TEST(RealTextTest, KeepsEveryBit) {
  constexpr uint64_t kSeed = 20240611;
  std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 100000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const std::string text = RealText(value);
    const std::optional<double> back = ParseReal(text);
    ASSERT_TRUE(back.has_value()) << text;
    ASSERT_EQ(std::bit_cast<uint64_t>(*back), std::bit_cast<uint64_t>(value)) << text;
    ASSERT_NE(text.find('.'), std::string::npos) << text;
  }
}

TEST(SuggestIntegerTest, SaysWhatWasMeant) {
  EXPECT_EQ(SuggestInteger("1_000_000"), "1000000");
  EXPECT_EQ(SuggestInteger("1,000"), "1000");
  EXPECT_EQ(SuggestInteger("1e6"), "1000000");
  EXPECT_EQ(SuggestInteger("128.0"), "128");
  EXPECT_EQ(SuggestInteger("007"), "7");
  EXPECT_EQ(SuggestInteger("12.5"), "");
  EXPECT_EQ(SuggestInteger("abc"), "");
  EXPECT_EQ(SuggestInteger("1e300"), "");
  EXPECT_EQ(SuggestInteger(""), "");
}

}  // namespace
}  // namespace sluice
