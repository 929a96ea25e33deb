// Every epoch visits every row once, in an order that keeps to windows of blocks.
#include "data/block_shuffle.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

const std::vector<int64_t> kRows = {40, 40, 7, 40, 40, 40, 1, 40, 40, 13};

int64_t Sum(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

TEST(BlockShuffleTest, AnEpochVisitsEachRowOnce) {
  for (int64_t blocks_a_window : {1, 3, 10, 1000}) {
    BlockShuffle shuffle({.seed = 4, .rows_of_block = kRows, .blocks_a_window = blocks_a_window});
    const int64_t n = shuffle.rows_per_epoch();
    ASSERT_EQ(n, Sum(kRows));
    for (int64_t epoch : {0, 1, 7}) {
      std::set<std::pair<int64_t, int64_t>> seen;
      for (int64_t i = 0; i < n; ++i) {
        const auto place = shuffle.Locate(epoch * n + i);
        ASSERT_EQ(place.epoch, epoch);
        ASSERT_TRUE(place.row >= 0 && place.row < kRows[static_cast<size_t>(place.block)]);
        ASSERT_TRUE(seen.emplace(place.block, place.row).second);
      }
      EXPECT_EQ(std::ssize(seen), n);
    }
  }
}

TEST(BlockShuffleTest, OneWindowOfBlocksIsEnoughMemory) {
  constexpr int64_t kWindow = 3;
  BlockShuffle shuffle({.seed = 4, .rows_of_block = kRows, .blocks_a_window = kWindow});
  std::map<int64_t, std::pair<int64_t, int64_t>> first_and_last;
  for (int64_t i = 0; i < shuffle.rows_per_epoch(); ++i) {
    const int64_t block = shuffle.Locate(i).block;
    first_and_last.try_emplace(block, i, i).first->second.second = i;
  }
  for (int64_t i = 0; i < shuffle.rows_per_epoch(); ++i) {
    const auto needed = std::count_if(first_and_last.begin(), first_and_last.end(), [&](auto& b) {
      return b.second.first <= i && i <= b.second.second;
    });
    ASSERT_LE(needed, kWindow) << i;
  }
}

TEST(BlockShuffleTest, OrdersDifferByEpochSeedAndWindow) {
  const std::vector<int64_t> equal(12, 30);
  const auto order = [&](uint64_t seed, int64_t first, int64_t count) {
    BlockShuffle shuffle({.seed = seed, .rows_of_block = equal, .blocks_a_window = 4});
    std::vector<std::pair<int64_t, int64_t>> places;
    for (int64_t i = 0; i < count; ++i) {
      const auto place = shuffle.Locate(first + i);
      places.emplace_back(place.block, place.row);
    }
    return places;
  };
  EXPECT_NE(order(1, 0, 360), order(1, 360, 360));
  EXPECT_NE(order(1, 0, 360), order(2, 0, 360));
  EXPECT_EQ(order(1, 100, 60), order(1, 100, 60));
  // Rows of the two windows in the order of their visits, blocks left out.
  const auto rows = [&](int64_t first) {
    std::vector<int64_t> found;
    for (const auto& [block, row] : order(1, first, 120)) found.push_back(row);
    return found;
  };
  EXPECT_NE(rows(0), rows(120));
  // A window's rows are mixed: neighbours are not neighbours any more.
  int64_t neighbours = 0;
  const auto first_window = order(1, 0, 120);
  for (size_t i = 1; i < first_window.size(); ++i) {
    neighbours += first_window[i].first == first_window[i - 1].first &&
                  first_window[i].second == first_window[i - 1].second + 1;
  }
  EXPECT_LT(neighbours, 8);  // one is expected of 119
}

TEST(BlockShuffleTest, UnshuffledIsTheRowsInOrder) {
  BlockShuffle shuffle({.shuffled = false, .rows_of_block = kRows, .blocks_a_window = 2});
  int64_t i = 0;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    for (int64_t block = 0; block < std::ssize(kRows); ++block) {
      for (int64_t row = 0; row < kRows[static_cast<size_t>(block)]; ++row) {
        const BlockShuffle::Place expected{epoch, block, row};
        ASSERT_EQ(shuffle.Locate(i++), expected);
      }
    }
  }
}

}  // namespace
}  // namespace sluice
