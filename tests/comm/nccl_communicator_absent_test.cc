// A build without NCCL: one rank needs none, several are told what is missing.
#include "comm/nccl_communicator.h"
#include "comm/single_communicator.h"
#include "comm/thread_communicator.h"
#include "core/error.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(NcclCommunicatorAbsentTest, OneRankNeedsNone) {
  SingleCommunicator host;
  const auto made = MakeNcclCommunicator(host, nullptr);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ((*made)->world_size(), 1);
}

TEST(NcclCommunicatorAbsentTest, SeveralAreToldWhatIsMissing) {
  RunRanks(2, [](Communicator& host) {
    const absl::Status status = MakeNcclCommunicator(host, nullptr).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kDevice);
    EXPECT_NE(status.message().find("need NCCL"), status.message().npos) << status;
  });
}

}  // namespace
}  // namespace sluice
