#include "core/parallel.h"

#include <omp.h>

#include <atomic>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(ParallelTest, EveryIndexExactlyOnceForAllSizesAndThreads) {
  const int threads_before = ComputeThreads();
  for (int threads : {1, 2, 3, 5}) {
    SetComputeThreads(threads);
    for (int64_t count = 0; count < 40; ++count) {
      for (int64_t grain : {1, 4, 16}) {
        std::vector<std::atomic<int>> seen(count);
        ParallelForWorkers(count, grain, [&](int worker, int64_t begin, int64_t end) {
          ASSERT_LT(worker, threads);
          ASSERT_EQ(begin % grain, 0);
          for (int64_t i = begin; i < end; ++i) ++seen[i];
        });
        for (int64_t i = 0; i < count; ++i) ASSERT_EQ(seen[i], 1) << count << " " << grain;
        ParallelForDynamic(count, [&](int, int64_t item) { ++seen[item]; });
        for (int64_t i = 0; i < count; ++i) ASSERT_EQ(seen[i], 2) << count;
      }
    }
  }
  SetComputeThreads(threads_before);
}

// As with OMP_THREAD_LIMIT: fewer threads come than were asked for.
TEST(ParallelTest, ASmallerTeamDoesAllTheWork) {
  const int threads_before = ComputeThreads(), levels_before = omp_get_max_active_levels();
  SetComputeThreads(5);
  omp_set_max_active_levels(0);  // teams of one
  std::vector<int> seen(40, 0);
  std::set<int> workers;
  ParallelForWorkers(40, 1, [&](int worker, int64_t begin, int64_t end) {
    workers.insert(worker);
    for (int64_t i = begin; i < end; ++i) ++seen[i];
  });
  ParallelForDynamic(40, [&](int, int64_t item) { ++seen[item]; });
  EXPECT_EQ(seen, std::vector<int>(40, 2));
  EXPECT_EQ(workers.size(), 5u);  // the ranges of five threads
  omp_set_max_active_levels(levels_before);
  SetComputeThreads(threads_before);
}

TEST(ParallelTest, NestedCallsRunSerially) {
  std::atomic<int> total{0};
  ParallelFor(4, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      ParallelFor(3, 1, [&](int64_t b, int64_t e) { total += static_cast<int>(e - b); });
    }
  });
  EXPECT_EQ(total, 12);
}

TEST(ParallelTest, WritesAreSeenAfterTheCall) {
  std::vector<int> values(1000, 0);
  for (int round = 0; round < 20; ++round) {
    ParallelFor(1000, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[i] += 1;
    });
  }
  for (int value : values) ASSERT_EQ(value, 20);
}

}  // namespace
}  // namespace sluice
