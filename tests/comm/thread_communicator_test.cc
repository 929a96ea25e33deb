#include "comm/thread_communicator.h"

#include <atomic>
#include <cstring>

#include "comm/agree.h"
#include "core/error.h"
#include "gtest/gtest.h"
#include "support/collectives_check.h"

namespace sluice {
namespace {

class ThreadCommunicatorTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, ThreadCommunicatorTest, ::testing::Range(1, 6));

TEST_P(ThreadCommunicatorTest, EveryCollectiveReachesEveryRank) {
  std::atomic<int> ranks_seen{0};
  RunRanks(GetParam(), [&](Communicator& comm) {
    EXPECT_EQ(testing::CheckCollectives(comm), "") << "rank " << comm.rank();
    EXPECT_EQ(comm.local_rank(), comm.rank());
    ranks_seen |= 1 << comm.rank();
  });
  EXPECT_EQ(ranks_seen, (1 << GetParam()) - 1);
}

TEST_P(ThreadCommunicatorTest, TheTextOfRankZeroReachesEveryRank) {
  RunRanks(GetParam(), [&](Communicator& comm) {
    for (const std::string& said : {std::string(), std::string("runs/a b/ü"), std::string(9, 0)}) {
      const std::string own(comm.rank() + 3, 'x');
      EXPECT_EQ(TextOfRankZero(comm, comm.rank() == 0 ? said : own).value(), said);
    }
    const absl::StatusOr<std::string> failed = CheckpointError("none there");
    EXPECT_TRUE(TextOfRankZero(comm, comm.rank() == 0 ? "here" : failed).ok());
    const absl::Status status = TextOfRankZero(comm, comm.rank() == 0 ? failed : "here").status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    EXPECT_EQ(status.message(), GetParam() == 1 ? "none there" : "rank 0: none there");
  });
}

TEST(ThreadCommunicatorTest, SumsInRankOrder) {
  // (1e8 + 1) - 1e8 is 0 in float, (1e8 - 1e8) + 1 is 1: only the rank order gives 0 here.
  const float of_rank[3] = {1e8f, 1.0f, -1e8f};
  for (int run = 0; run < 20; ++run) {
    RunRanks(3, [&](Communicator& comm) {
      float value = of_rank[comm.rank()];
      EXPECT_TRUE(comm.AllReduceSum({&value, 1}).ok());
      EXPECT_EQ(value, 0.0f);
    });
  }
}

TEST(ThreadCommunicatorTest, DifferentCallsAreAnErrorOnEveryRank) {
  RunRanks(3, [](Communicator& comm) {
    float values[4] = {};
    const absl::Status status =
        comm.rank() == 1 ? comm.Barrier() : comm.AllReduceSum(std::span<float>(values));
    EXPECT_EQ(
        status.message(),
        "ranks make different calls: rank 0: AllReduceSum<float> of 16 bytes, root 0; rank 1: "
        "Barrier of 0 bytes, root 0");
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kDevice);
  });
}

TEST(ThreadCommunicatorTest, ARankThatLeavesHangsNobody) {
  RunRanks(3, [](Communicator& comm) {
    if (comm.rank() == 2) return;
    const absl::Status status = comm.Barrier();
    EXPECT_EQ(status.message(), "a rank has left while others wait for it: rank 2");
  });
}

TEST(ThreadCommunicatorDeathTest, ChangingValuesThatAreBeingSummed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // it starts threads in the child
  EXPECT_DEATH(RunRanks(1,
                        [](Communicator& comm) {
                          float value = 1;
                          (void)comm.StartAllReduceSum({&value, 1});
                          value = 2;
                          (void)comm.WaitAll();
                        }),
               "values changed between StartAllReduceSum and WaitAll");
}

}  // namespace
}  // namespace sluice
