// An order of rows for files that can be read cheaply by blocks only (compressed chunks of many
// rows): the blocks of all files in a random order, and within each window of so many consecutive
// ones their rows in a random order. Both are functions (permutation.h), new in each epoch; whoever
// holds one window of blocks in memory reads each block once an epoch.
//
//   BlockShuffle shuffle({.seed = 1, .rows_of_block = {1024, 1024, 17}, .blocks_a_window = 2});
//   const auto [epoch, block, row] = shuffle.Locate(global_sample_index);
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice {

struct BlockShuffleSettings {
  uint64_t seed = 1000;
  bool shuffled = true;                // false: all rows in their own order, in every epoch
  std::vector<int64_t> rows_of_block;  // each at least 1; at least one block
  int64_t blocks_a_window = 1;         // at least 1
};

class BlockShuffle {
 public:
  struct Place {
    int64_t epoch = 0;
    int64_t block = 0;
    int64_t row = 0;  // in the block
    friend bool operator==(const Place&, const Place&) = default;
  };

  explicit BlockShuffle(BlockShuffleSettings settings);

  int64_t rows_per_epoch() const { return rows_per_epoch_; }

  // global_index >= 0. Each epoch visits each row once. Constant time but for an epoch's first.
  Place Locate(int64_t global_index);

 private:
  void PlanEpoch(int64_t epoch);

  BlockShuffleSettings settings_;
  int64_t rows_per_epoch_ = 0;
  // Of the planned epoch.
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // (blocks): which block comes first, second, …
  std::vector<int64_t> begin_;  // (blocks + 1): rows before it in the epoch
};

}  // namespace sluice
