// One rank, in any build; nccl_test.sh has several.
#include "comm/nccl_communicator.h"

#include "comm/single_communicator.h"
#include "gtest/gtest.h"
#include "support/collectives_check.h"

namespace sluice {
namespace {

TEST(NcclCommunicatorTest, OneRankNeedsNoNccl) {
  SingleCommunicator host;
  const auto made = MakeNcclCommunicator(host, nullptr);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->world_size(), 1);
  EXPECT_EQ(testing::CheckCollectives(**made), "");
}

}  // namespace
}  // namespace sluice
