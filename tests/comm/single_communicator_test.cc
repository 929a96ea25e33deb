#include "comm/single_communicator.h"

#include <cstdlib>

#include "comm/mpi_communicator.h"
#include "gtest/gtest.h"
#include "support/collectives_check.h"

namespace sluice {
namespace {

class MpiEnvironmentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
      unsetenv(name);
    }
  }
};

TEST(SingleCommunicatorTest, CollectivesAreTheIdentity) {
  SingleCommunicator comm;
  EXPECT_EQ(testing::CheckCollectives(comm), "");
  EXPECT_EQ(comm.rank(), 0);
  EXPECT_EQ(comm.world_size(), 1);
  EXPECT_EQ(comm.local_size(), 1);
}

TEST_F(MpiEnvironmentTest, IsOneRankWithoutALauncher) {
  absl::StatusOr<std::unique_ptr<MpiEnvironment>> mpi = MpiEnvironment::Start();
  ASSERT_TRUE(mpi.ok()) << mpi.status();
  EXPECT_EQ((*mpi)->communicator().world_size(), 1);
  EXPECT_EQ((*mpi)->communicator().name(), "single process");
  mpi->reset();
  EXPECT_TRUE(MpiEnvironment::Start().ok()) << "nothing was initialized, so it can start again";
}

TEST_F(MpiEnvironmentTest, RefusesTasksThatCannotFindEachOther) {
  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  const absl::Status slurm = MpiEnvironment::Start().status();
  EXPECT_EQ(ExitCodeOf(slurm), ExitCode::kUsage);
  EXPECT_EQ(slurm.message(),
            "srun started several tasks without MPI: use srun --mpi=pmix, or mpirun: "
            "SLURM_STEP_NUM_TASKS=4");
  setenv("SLURM_STEP_NUM_TASKS", "1", 1);
  EXPECT_TRUE(MpiEnvironment::Start().ok());
  setenv("PMI_SIZE", "2", 1);
  EXPECT_EQ(ExitCodeOf(MpiEnvironment::Start().status()), ExitCode::kUsage);
}

TEST(AbortAllRanksDeathTest, EndsALoneProcessWithTheCode) {
  EXPECT_EXIT(AbortAllRanks(75), ::testing::ExitedWithCode(75), "");
}

}  // namespace
}  // namespace sluice
