// Prefetcher: order, bounds, errors, the end, and going away in every state.
#include "data/prefetcher.h"

#include <atomic>
#include <chrono>
#include <set>

#include "core/error.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using std::chrono::milliseconds;

// Batch k is the range (7 k, 3); its tokens are its first sample.
PrefetcherSettings Settings(int64_t depth) {
  return {.depth = depth,
          .range =
              [](int64_t k) {
                return BatchRange{7 * k, 3};
              },
          .fill =
              [](BatchRange range, Batch* batch) {
                batch->B = range.count;
                batch->tokens.assign(5, static_cast<int32_t>(range.first_sample));
                return absl::OkStatus();
              }};
}

TEST(PrefetcherTest, GivesAllBatchesInOrder) {
  for (int64_t depth : {1, 2, 7}) {
    Prefetcher prefetcher(Settings(depth));
    for (int32_t k = 0; k < 500; ++k) {
      const auto batch = prefetcher.Next();
      ASSERT_TRUE(batch.ok());
      ASSERT_EQ((*batch)->B, 3);
      ASSERT_EQ((*batch)->tokens, std::vector<int32_t>(5, 7 * k));
    }
  }
}

TEST(PrefetcherTest, PeekIsTheNextOneAndWaitsForNothing) {
  Prefetcher prefetcher(Settings(1));
  for (int32_t k = 0; k < 100; ++k) {
    const Batch* seen = nullptr;
    while (seen == nullptr) seen = prefetcher.Peek();
    EXPECT_EQ(seen->tokens, std::vector<int32_t>(5, 7 * k));
    EXPECT_EQ(prefetcher.Peek(), seen);
    const auto next = prefetcher.Next();
    ASSERT_TRUE(next.ok());
    EXPECT_EQ(*next, seen);
  }
}

TEST(PrefetcherTest, PeekIsNullWhereNextWouldWaitOrEnd) {
  std::atomic<bool> open = false;
  PrefetcherSettings settings = Settings(2);
  settings.range = [](int64_t k) { return BatchRange{7 * k, k == 0 ? 3 : 0}; };
  settings.fill = [&](BatchRange range, Batch* batch) {
    while (!open) std::this_thread::sleep_for(milliseconds(1));
    batch->B = range.count;
    return absl::OkStatus();
  };
  Prefetcher prefetcher(settings);
  EXPECT_EQ(prefetcher.Peek(), nullptr);
  open = true;
  ASSERT_NE(*prefetcher.Next(), nullptr);
  EXPECT_EQ(prefetcher.Peek(), nullptr);
  ASSERT_EQ(*prefetcher.Next(), nullptr);
  EXPECT_EQ(prefetcher.Peek(), nullptr);
}

TEST(PrefetcherTest, ABatchStaysAsItIsUntilTheNextCall) {
  Prefetcher prefetcher(Settings(2));
  for (int32_t k = 0; k < 20; ++k) {
    const auto batch = prefetcher.Next();
    ASSERT_TRUE(batch.ok());
    std::this_thread::sleep_for(milliseconds(2));  // the thread fills all it may
    EXPECT_EQ((*batch)->tokens, std::vector<int32_t>(5, 7 * k));
  }
}

TEST(PrefetcherTest, PreparesDepthBatchesAheadAndNoMoreAndReusesTheirMemory) {
  std::atomic<int64_t> fills = 0;
  std::set<const Batch*> batches;
  PrefetcherSettings settings = Settings(3);
  settings.fill = [&](BatchRange, Batch* batch) {
    batches.insert(batch);
    ++fills;
    return absl::OkStatus();
  };
  {
    Prefetcher prefetcher(settings);
    for (int64_t taken = 0; taken < 10; ++taken) {
      // While the caller holds batch taken - 1, batches up to taken + 2 are prepared. Before the
      // first call nothing is held, and the whole ring of depth + 1 may be filled.
      const int64_t most = taken == 0 ? 4 : taken + 3;
      for (int i = 0; i < 2000 && fills < most; ++i) std::this_thread::sleep_for(milliseconds(1));
      std::this_thread::sleep_for(milliseconds(3));
      EXPECT_EQ(fills, most);
      ASSERT_TRUE(prefetcher.Next().ok());
    }
  }
  EXPECT_EQ(batches.size(), 4u);
}

TEST(PrefetcherTest, AnErrorComesAfterTheBatchesBeforeItAndStays) {
  PrefetcherSettings settings = Settings(4);
  settings.fill = [](BatchRange range, Batch* batch) {
    if (range.first_sample == 21) return DataError("chunk is damaged", "shard.h5");
    batch->B = range.first_sample;
    return absl::OkStatus();
  };
  Prefetcher prefetcher(settings);
  for (int64_t k = 0; k < 3; ++k) {
    const auto batch = prefetcher.Next();
    ASSERT_TRUE(batch.ok());
    EXPECT_EQ((*batch)->B, 7 * k);
  }
  for (int i = 0; i < 3; ++i) {
    const auto batch = prefetcher.Next();
    EXPECT_EQ(ExitCodeOf(batch.status()), ExitCode::kData);
    EXPECT_EQ(batch.status().message(), "chunk is damaged: shard.h5");
  }
}

TEST(PrefetcherTest, TheEndIsNull) {
  PrefetcherSettings settings = Settings(4);
  settings.range = [](int64_t k) { return k < 5 ? BatchRange{k, 1} : BatchRange{}; };
  Prefetcher prefetcher(settings);
  for (int64_t k = 0; k < 5; ++k) ASSERT_NE(*prefetcher.Next(), nullptr);
  for (int i = 0; i < 3; ++i) {
    const auto end = prefetcher.Next();
    ASSERT_TRUE(end.ok());
    EXPECT_EQ(*end, nullptr);
  }
}

TEST(PrefetcherTest, CountsTheTimeItWaited) {
  PrefetcherSettings settings = Settings(1);
  settings.fill = [](BatchRange, Batch*) {
    std::this_thread::sleep_for(milliseconds(20));
    return absl::OkStatus();
  };
  Prefetcher prefetcher(settings);
  // However late the calls come, all but the first batches have to be waited for.
  for (int k = 0; k < 3; ++k) ASSERT_TRUE(prefetcher.Next().ok());
  EXPECT_GT(prefetcher.waited_seconds(), 0);
}

TEST(PrefetcherTest, GoesAwayInEveryState) {
  for (int taken : {0, 1, 3}) {
    Prefetcher prefetcher(Settings(2));  // full ring, thread waiting
    for (int k = 0; k < taken; ++k) ASSERT_TRUE(prefetcher.Next().ok());
  }
  for (int i = 0; i < 50; ++i) Prefetcher prefetcher(Settings(2));  // thread hardly started
  PrefetcherSettings slow = Settings(2);
  slow.fill = [](BatchRange, Batch*) {
    std::this_thread::sleep_for(milliseconds(10));
    return absl::OkStatus();
  };
  { Prefetcher prefetcher(slow); }  // in the midst of a fill
  PrefetcherSettings failing = Settings(2);
  failing.fill = [](BatchRange, Batch*) { return DataError("bad", "x"); };
  { Prefetcher prefetcher(failing); }  // after an error that nobody saw
  PrefetcherSettings ended = Settings(2);
  ended.range = [](int64_t) { return BatchRange{}; };
  Prefetcher prefetcher(ended);
  EXPECT_EQ(*prefetcher.Next(), nullptr);
}

}  // namespace
}  // namespace sluice
