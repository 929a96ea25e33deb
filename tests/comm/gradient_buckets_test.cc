#include "comm/gradient_buckets.h"

#include <algorithm>

#include "comm/single_communicator.h"
#include "comm/thread_communicator.h"
#include "gtest/gtest.h"
#include "support/collectives_check.h"

namespace sluice {
namespace {

using testing::EncodedValues;
using testing::FirstWrongSum;

// Marks `size` values in stretches of `stretch`, the way layers finish in backward.
absl::Status MarkInStretches(GradientBuckets& buckets, int64_t size, int64_t stretch) {
  for (int64_t begin = 0; begin < size; begin += stretch) {
    const absl::Status status = buckets.MarkReady(begin, std::min(begin + stretch, size));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

class GradientBucketsTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, GradientBucketsTest, ::testing::Range(1, 6));

TEST_P(GradientBucketsTest, SumsEveryValueOnceWhateverTheSizes) {
  RunRanks(GetParam(), [](Communicator& comm) {
    for (const int64_t size : {0, 1, 5, 64, 1000, 1001}) {
      for (const int64_t bucket_bytes : {4, 7, 12, 400, 4000, 1 << 20}) {
        for (const int64_t stretch : {1, 3, 100, 1001}) {
          if (stretch == 1 && size > 64) continue;
          std::vector<float> gradients = EncodedValues<float>(comm.rank(), size);
          GradientBuckets buckets(comm, gradients, bucket_bytes);
          ASSERT_TRUE(MarkInStretches(buckets, size, stretch).ok());
          ASSERT_TRUE(buckets.Finish().ok());
          EXPECT_EQ(FirstWrongSum(gradients, comm.world_size()), "")
              << "size " << size << ", bucket " << bucket_bytes << ", stretch " << stretch;
        }
      }
    }
  });
}

TEST(GradientBucketsTest, IsUsedStepAfterStep) {
  RunRanks(2, [](Communicator& comm) {
    std::vector<float> gradients(10);
    GradientBuckets buckets(comm, gradients, 16);
    for (int step = 0; step < 3; ++step) {
      std::ranges::copy(EncodedValues<float>(comm.rank(), 10), gradients.begin());
      ASSERT_TRUE(MarkInStretches(buckets, 10, 3).ok());
      ASSERT_TRUE(buckets.Finish().ok());
      EXPECT_EQ(FirstWrongSum(gradients, 2), "") << "step " << step;
    }
  });
}

// Counts what is started, and when.
class CountingCommunicator : public SingleCommunicator {
 public:
  int world_size() const override { return 2; }
  absl::Status StartAllReduceSum(std::span<float> values) override {
    started.push_back(static_cast<int64_t>(values.size()));
    return absl::OkStatus();
  }
  absl::Status WaitAll() override {
    ++waits;
    return absl::OkStatus();
  }
  std::vector<int64_t> started;
  int waits = 0;
};

TEST(GradientBucketsTest, StartsABucketAsSoonAsItIsComplete) {
  CountingCommunicator comm;
  std::vector<float> gradients(10);
  GradientBuckets buckets(comm, gradients, 4 * sizeof(float));
  EXPECT_EQ(buckets.bucket_count(), 3);
  ASSERT_TRUE(buckets.MarkReady(0, 3).ok());
  EXPECT_EQ(comm.started, (std::vector<int64_t>{}));
  ASSERT_TRUE(buckets.MarkReady(3, 5).ok());
  EXPECT_EQ(comm.started, (std::vector<int64_t>{4}));
  EXPECT_EQ(buckets.buckets_started(), 1);
  ASSERT_TRUE(buckets.MarkReady(5, 10).ok());
  EXPECT_EQ(comm.started, (std::vector<int64_t>{4, 4, 2}));
  EXPECT_EQ(buckets.buckets_started(), 3);
  EXPECT_EQ(comm.waits, 0);
  ASSERT_TRUE(buckets.Finish().ok());
  EXPECT_EQ(comm.waits, 1);
}

TEST(GradientBucketsTest, WithOneRankTouchesNothing) {
  class Untouchable : public SingleCommunicator {
   public:
    absl::Status StartAllReduceSum(std::span<float>) override { return DeviceError("called"); }
    absl::Status WaitAll() override { return DeviceError("called"); }
  } comm;
  std::vector<float> gradients(10);
  GradientBuckets buckets(comm, gradients, 8);
  EXPECT_TRUE(buckets.MarkReady(0, 10).ok());
  EXPECT_TRUE(buckets.Finish().ok());
}

TEST(GradientBucketsDeathTest, GapsAndForgottenStretches) {
  SingleCommunicator comm;
  std::vector<float> gradients(10);
  GradientBuckets buckets(comm, gradients, 8);
  EXPECT_DEATH((void)buckets.MarkReady(1, 10), "begin == ready_");
  EXPECT_DEATH((void)buckets.MarkReady(0, 11), "end <= ");
  EXPECT_DEATH((void)buckets.Finish(), "ready_ == ");
}

}  // namespace
}  // namespace sluice
