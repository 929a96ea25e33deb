#include "data/block_shuffle.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/check.h"
#include "data/permutation.h"

namespace sluice {

BlockShuffle::BlockShuffle(BlockShuffleSettings settings) : settings_(std::move(settings)) {
  CHECK(!settings_.rows_of_block.empty());
  CHECK_GE(settings_.blocks_a_window, 1);
  for (int64_t rows : settings_.rows_of_block) {
    CHECK_GE(rows, 1);
    rows_per_epoch_ += rows;
  }
}

void BlockShuffle::PlanEpoch(int64_t epoch) {
  epoch_ = epoch;
  const std::vector<int64_t>& rows = settings_.rows_of_block;
  order_.resize(rows.size());
  begin_.assign(1, 0);
  const Permutation permutation(settings_.seed, epoch, std::ssize(rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    order_[i] = settings_.shuffled ? permutation(static_cast<int64_t>(i)) : static_cast<int64_t>(i);
    begin_.push_back(begin_.back() + rows[static_cast<size_t>(order_[i])]);
  }
}

BlockShuffle::Place BlockShuffle::Locate(int64_t global_index) {
  CHECK_GE(global_index, 0);
  const int64_t epoch = global_index / rows_per_epoch_;
  if (epoch != epoch_) PlanEpoch(epoch);
  const auto block_at = [this](int64_t row) {
    return std::upper_bound(begin_.begin(), begin_.end(), row) - begin_.begin() - 1;
  };
  int64_t row = global_index % rows_per_epoch_;
  if (settings_.shuffled) {
    const int64_t window = block_at(row) / settings_.blocks_a_window;
    const int64_t first = window * settings_.blocks_a_window;
    const int64_t end = std::min(first + settings_.blocks_a_window, std::ssize(order_));
    const int64_t begin = begin_[static_cast<size_t>(first)];
    // Windows of one size must not all have the same order, nor the order of the blocks.
    const uint64_t seed =
        settings_.seed + 0x9E3779B97F4A7C15u * (static_cast<uint64_t>(window) + 1);
    row = begin + Permutation(seed, epoch, begin_[static_cast<size_t>(end)] - begin)(row - begin);
  }
  const auto at = static_cast<size_t>(block_at(row));
  return {epoch, order_[at], row - begin_[at]};
}

}  // namespace sluice
