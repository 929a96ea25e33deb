// A build without NCCL: several ranks are told what is missing.
#include "comm/nccl_communicator.h"
#include "comm/thread_communicator.h"
#include "core/error.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(NcclCommunicatorAbsentTest, SeveralAreToldWhatIsMissing) {
  RunRanks(2, [](Communicator& host) {
    const absl::Status status = MakeNcclCommunicator(host, nullptr).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kDevice);
    EXPECT_NE(status.message().find("need NCCL"), status.message().npos) << status;
  });
}

}  // namespace
}  // namespace sluice
