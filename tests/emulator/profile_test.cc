#include "emulator/profile.h"

#include "emulator/families.h"
#include "emulator/profiled_kernels.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

void ExpectCounts(const Counts& counts, u64 actual, u64 ideal) {
  EXPECT_EQ(counts.actual, actual);
  EXPECT_EQ(counts.ideal, ideal);
}

class ProfileTest : public ::testing::Test {
 protected:
  ProfileTest() { StartProfile(); }
  ~ProfileTest() override { profiling = false; }
  // Of the one kernel that was launched.
  KernelProfile Take() const {
    const std::vector<KernelProfile> profiles = TakeProfile();
    EXPECT_EQ(profiles.size(), 1u);
    return profiles.empty() ? KernelProfile{} : profiles.front();
  }
};

// 32 rows are written at once each; of 32 columns each takes 32 turns.
TEST_F(ProfileTest, ColumnsWithoutPaddingConflict) {
  RunTranspose(/*padded=*/false);
  const KernelProfile profile = Take();
  EXPECT_EQ(profile.file, "profiled_kernels.cu");
  EXPECT_NE(profile.name.find("TransposeKernel"), std::string::npos);
  EXPECT_EQ(profile.launches, 1u);
  ExpectCounts(profile.shared, 32 + 32 * 32, 64);
  ExpectCounts(profile.shared_in_loops, 32 + 32 * 32, 64);
}

TEST_F(ProfileTest, PaddedColumnsDoNot) {
  RunTranspose(/*padded=*/true);
  RunTranspose(/*padded=*/true);
  const KernelProfile profile = Take();
  EXPECT_EQ(profile.launches, 2u);
  ExpectCounts(profile.shared, 128, 128);
  ExpectCounts(profile.global, 2 * 256, 2 * 256);
  EXPECT_EQ(profile.sectors_read, 256u);
  EXPECT_EQ(profile.sectors_written, 256u);
}

// A float in each of 32 sectors where 4 would do; read twice, and 32 different ones all the same.
TEST_F(ProfileTest, SectorsOfStridedReads) {
  RunStridedRead();
  const KernelProfile profile = Take();
  ExpectCounts(profile.global, 2 * 32 + 4, 2 * 4 + 4);
  EXPECT_EQ(profile.sectors_read, 32u);
  EXPECT_EQ(profile.sectors_written, 4u);
  EXPECT_EQ(profile.shared.ideal, 0u);
}

TEST_F(ProfileTest, TensorInstructions) {
  RunMatrix(std::vector<bf16>(256, bf16(1)), std::vector<bf16>(128, bf16(1)), Floats(128, 1));
  const KernelProfile profile = Take();
  EXPECT_EQ(profile.tensor_instructions, 1u);
  EXPECT_GT(profile.warp_instructions, profile.tensor_instructions);
}

TEST_F(ProfileTest, TakenCountsAreGone) {
  RunStridedRead();
  EXPECT_EQ(TakeProfile().size(), 1u);
  EXPECT_TRUE(TakeProfile().empty());
}

}  // namespace
}  // namespace sluice::emulator
