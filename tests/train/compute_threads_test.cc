#include "train/compute_threads.h"

#include <cstdlib>

#include "comm/single_communicator.h"
#include "comm/thread_communicator.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

class ComputeThreadsTest : public ::testing::Test {
 protected:
  ~ComputeThreadsTest() override { unsetenv("OMP_NUM_THREADS"); }
  static int Choose(int64_t configured) {
    SingleCommunicator communicator;
    return ChooseComputeThreads(communicator, configured).value();
  }
  static int WithEnvironment(const char* text) {
    setenv("OMP_NUM_THREADS", text, /*replace=*/1);
    return Choose(0);
  }
};

TEST_F(ComputeThreadsTest, TheConfigurationComesFirstThenTheEnvironmentThenTheCores) {
  unsetenv("OMP_NUM_THREADS");
  const int cores = Choose(0);
  EXPECT_GE(cores, 1);
  EXPECT_EQ(Choose(7), 7);
  EXPECT_EQ(WithEnvironment("3"), 3);
  EXPECT_EQ(Choose(7), 7);
  EXPECT_EQ(WithEnvironment(" 5,2,1"), 5);  // of nested levels the first
  EXPECT_EQ(WithEnvironment("4 "), 4);
  for (const char* no_number : {"", "0", "-2", "many", "2x", "99999999999999999999"}) {
    EXPECT_EQ(WithEnvironment(no_number), cores) << no_number;
  }
}

TEST_F(ComputeThreadsTest, RanksShareTheCores) {
  unsetenv("OMP_NUM_THREADS");
  const int cores = Choose(0);
  RunRanks(2 * cores, [](Communicator& communicator) {
    EXPECT_EQ(ChooseComputeThreads(communicator, 0).value(), 1);
  });
}

}  // namespace
}  // namespace sluice
