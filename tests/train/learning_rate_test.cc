#include "optim/learning_rate.h"

#include "gtest/gtest.h"

namespace sluice {
namespace {

// The recipe of BERT-base: update k of 0-based k has peak · k / 10,000, then falls to 0 at
// 1,000,000.
TEST(LearningRateTest, LinearIsTheRecipes) {
  const LearningRateScheduleConfig schedule{
      .shape = "linear", .warmup_steps = 10000, .final_fraction = 0};
  auto rate = [&](int64_t k) { return LearningRateAt(schedule, 1e-4, 1000000, k); };
  EXPECT_EQ(rate(0), 0);
  EXPECT_DOUBLE_EQ(rate(1), 1e-8);
  EXPECT_DOUBLE_EQ(rate(9999), 0.9999e-4);
  EXPECT_DOUBLE_EQ(rate(10000), 1e-4);
  EXPECT_DOUBLE_EQ(rate(505000), 0.5e-4);
  EXPECT_NEAR(rate(999999), 1e-4 / 990000, 1e-18);
  EXPECT_EQ(rate(1000000), 0);
  EXPECT_EQ(rate(2000000), 0);
}

TEST(LearningRateTest, CosineAndConstantAndFinalFraction) {
  const LearningRateScheduleConfig cosine{
      .shape = "cosine", .warmup_steps = 10, .final_fraction = 0.1};
  EXPECT_DOUBLE_EQ(LearningRateAt(cosine, 2, 110, 10), 2);
  EXPECT_DOUBLE_EQ(LearningRateAt(cosine, 2, 110, 60), 2 * (0.1 + 0.9 * 0.5));
  EXPECT_DOUBLE_EQ(LearningRateAt(cosine, 2, 110, 110), 0.2);
  const LearningRateScheduleConfig constant{
      .shape = "constant", .warmup_steps = 4, .final_fraction = 0};
  EXPECT_DOUBLE_EQ(LearningRateAt(constant, 2, 10, 2), 1);
  EXPECT_DOUBLE_EQ(LearningRateAt(constant, 2, 10, 9), 2);
  const LearningRateScheduleConfig linear{
      .shape = "linear", .warmup_steps = 0, .final_fraction = 0.5};
  EXPECT_DOUBLE_EQ(LearningRateAt(linear, 2, 10, 0), 2);
  EXPECT_DOUBLE_EQ(LearningRateAt(linear, 2, 10, 5), 1.5);
  EXPECT_DOUBLE_EQ(LearningRateAt(linear, 2, 10, 10), 1);
}

TEST(LearningRateTest, AWarmUpAsLongAsTheRunNeverFalls) {
  const LearningRateScheduleConfig schedule{
      .shape = "linear", .warmup_steps = 5, .final_fraction = 0};
  EXPECT_DOUBLE_EQ(LearningRateAt(schedule, 1, 5, 4), 0.8);
  EXPECT_EQ(LearningRateAt(schedule, 1, 5, 5), 0);
}

}  // namespace
}  // namespace sluice
