#include "optim/loss_scale.h"

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(LossScaleTest, HalvesWhenItOverflowsAndDoublesAfterEnoughCleanUpdates) {
  LossScale scale({.initial = 8, .growth_interval = 3, .minimum = 1});
  EXPECT_EQ(scale.value(), 8);
  scale.Applied();
  scale.Applied();
  EXPECT_TRUE(scale.Overflowed());
  EXPECT_EQ(scale.state(), (LossScale::State{4, 0, 1}));  // counting begins anew
  scale.Applied();
  scale.Applied();
  EXPECT_EQ(scale.state(), (LossScale::State{4, 2, 1}));
  scale.Applied();
  EXPECT_EQ(scale.state(), (LossScale::State{8, 0, 1}));
  for (int i = 0; i < 3; ++i) scale.Applied();
  EXPECT_EQ(scale.state(), (LossScale::State{16, 0, 1}));
}

TEST(LossScaleTest, EndsAtTheMinimum) {
  LossScale scale({.initial = 8, .growth_interval = 3, .minimum = 3});
  EXPECT_TRUE(scale.Overflowed());
  EXPECT_EQ(scale.value(), 4);
  scale.Applied();
  EXPECT_TRUE(scale.Overflowed());
  EXPECT_EQ(scale.value(), 3);
  scale.Applied();
  EXPECT_FALSE(scale.Overflowed());
  EXPECT_EQ(scale.state(), (LossScale::State{3, 1, 2}));  // nothing changed
}

TEST(LossScaleTest, DoesNotGrowToWhatALogitsGradientCannotHold) {
  LossScale scale({.initial = 8192, .growth_interval = 1, .minimum = 1});
  for (double expected : {16384, 32768, 32768}) {
    scale.Applied();
    EXPECT_EQ(scale.value(), expected);
  }
  LossScale large({.initial = 0x1p24, .growth_interval = 1, .minimum = 1});  // as it was told
  large.Applied();
  EXPECT_EQ(large.value(), 0x1p24);
}

TEST(LossScaleTest, StaysLowerByTheWeightOfALoss) {
  const LossScaleConfig config = {.initial = 4096, .growth_interval = 1, .minimum = 1};
  LossScale scale(config, 19.2);  // the next-sentence head's, at 128 tokens
  EXPECT_EQ(scale.value(), 1024);
  scale.Applied();
  EXPECT_EQ(scale.value(), 1024);
  EXPECT_TRUE(scale.Overflowed());
  scale.Applied();
  EXPECT_EQ(scale.value(), 1024);
  EXPECT_EQ(LossScale(config, 0.5).value(), 4096);
  EXPECT_EQ(LossScale({.initial = 64, .growth_interval = 1, .minimum = 1}, 76.8).value(), 64);
  EXPECT_EQ(LossScale({.initial = 4096, .growth_interval = 1, .minimum = 512}, 76.8).value(), 512);
}

TEST(LossScaleTest, IsOneForEverWhereNothingOverflows) {
  LossScale scale;
  EXPECT_FALSE(scale.dynamic());
  for (int i = 0; i < 5000; ++i) scale.Applied();
  EXPECT_FALSE(scale.Overflowed());
  EXPECT_EQ(scale.state(), LossScale::State());
  scale.Restore({.scale = 64, .clean_updates = 5, .skipped_updates = 7});
  EXPECT_EQ(scale.state(), (LossScale::State{1, 0, 7}));
}

TEST(LossScaleTest, GoesOnFromAState) {
  LossScale scale({.initial = 8, .growth_interval = 10, .minimum = 2});
  scale.Restore({.scale = 64, .clean_updates = 9, .skipped_updates = 7});
  scale.Applied();
  EXPECT_EQ(scale.state(), (LossScale::State{128, 0, 7}));
  scale.Restore({.scale = 1, .clean_updates = 0, .skipped_updates = 7});
  EXPECT_EQ(scale.value(), 2);  // the minimum was raised meanwhile
}

}  // namespace
}  // namespace sluice
