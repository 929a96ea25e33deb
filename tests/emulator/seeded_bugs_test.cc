// Each seeded bug stops the program with its own reason and the line of the kernel; the right
// kernel does not.
#include "emulator/seeded_bugs.h"

#include "emulator/execute.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

class SeededBugsTest : public ::testing::TestWithParam<SeededBug> {
 protected:
  void TearDown() override { SetOrder({}); }
};

constexpr Order kOrders[] = {
    {Order::kForward, 0}, {Order::kReverse, 0}, {Order::kRandom, 1}, {Order::kRandom, 2}};

TEST_P(SeededBugsTest, IsStoppedWithItsReasonInAnyOrder) {
  const SeededBug& bug = GetParam();
  for (const Order& order : kOrders) {
    SetOrder(order);
    if (bug.message == nullptr) {
      const std::vector<float> y = RunBug(bug);
      for (int i = 0; i < kBugThreads; ++i) ASSERT_EQ(y[i], kBugThreads - i);
    } else {
      const std::string message = std::string("(") + bug.message + ")";
      EXPECT_DEATH(RunBug(bug), message);
      EXPECT_DEATH(RunBug(bug), "seeded_bugs.cu:[0-9]+: ");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SeededBugsTest, ::testing::ValuesIn(SeededBugs()),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace sluice::emulator
