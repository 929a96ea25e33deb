#include "core/philox.h"

#include <cmath>

#include "gtest/gtest.h"

namespace sluice {
namespace {

// Known-answer vectors published with the Random123 library (kat_vectors, philox4x32 10 rounds).
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(Philox({0, 0}, {0, 0, 0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  const uint32_t ones = 0xffffffffu;
  EXPECT_EQ(Philox({ones, ones}, {ones, ones, ones, ones}),
            (std::array<uint32_t, 4>{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(
      Philox({0xa4093822u, 0x299f31d0u}, {0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}),
      (std::array<uint32_t, 4>{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(PhiloxTest, KeysDifferByEveryArgument) {
  const PhiloxKey base = MakePhiloxKey(1, RandomPurpose::kDropout, 0);
  EXPECT_FALSE(base == MakePhiloxKey(2, RandomPurpose::kDropout, 0));
  EXPECT_FALSE(base == MakePhiloxKey(uint64_t{1} << 32, RandomPurpose::kDropout, 0));
  EXPECT_FALSE(base == MakePhiloxKey(1, RandomPurpose::kMasking, 0));
  EXPECT_FALSE(base == MakePhiloxKey(1, RandomPurpose::kDropout, 1));
  EXPECT_TRUE(base == MakePhiloxKey(1, RandomPurpose::kDropout, 0));
}

TEST(PhiloxTest, UniformMeanAndRange) {
  const PhiloxKey key = MakePhiloxKey(7, RandomPurpose::kSampling, 0);
  double sum = 0;
  const int draws = 20000;
  for (int i = 0; i < draws; ++i) {
    const double u = UniformFromWord(Philox(key, PhiloxCounter(i, 3))[1]);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / draws, 0.5, 5 / std::sqrt(12.0 * draws));  // five standard errors
}

}  // namespace
}  // namespace sluice
