#include "core/check.h"

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(CheckTest, PassesSilentlyAndEvaluatesOnce) {
  int calls = 0;
  auto next = [&] { return ++calls; };
  CHECK_EQ(next(), 1);
  CHECK(next() == 2) << "not printed";
  EXPECT_EQ(calls, 2);
}

TEST(CheckDeathTest, PrintsBothSidesAndTheMessage) {
  const int hidden_size = 770;
  EXPECT_DEATH(CHECK_EQ(hidden_size % 12, 0) << "hidden_size " << hidden_size,
               "check_test.cc:[0-9]+: hidden_size % 12 == 0 \\(2 vs. 0\\) hidden_size 770");
  EXPECT_DEATH(CHECK(hidden_size < 0), "hidden_size < 0");
}

TEST(CheckTest, WorksAsTheBodyOfAnIfElse) {
  bool reached = false;
  if (true)
    CHECK_LE(1, 2);
  else
    reached = true;
  EXPECT_FALSE(reached);
}

}  // namespace
}  // namespace sluice
