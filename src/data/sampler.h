// Which sequence is the g-th sample of a run. Data order is a function, so a resume needs no more
// than g, and ranks and micro-batches are only ranges of g.
//
//   const Sampler sampler(seed, sequences_per_epoch, /*shuffled=*/true);
//   const auto [epoch, sequence] = sampler.Locate(global_sample_index);
#pragma once

#include <cstdint>

#include "core/check.h"
#include "data/permutation.h"

namespace sluice {

struct SampleLocation {
  int64_t epoch = 0;
  int64_t sequence = 0;  // in [0, sequences per epoch)
  friend bool operator==(const SampleLocation&, const SampleLocation&) = default;
};

class Sampler {
 public:
  // Each epoch visits each of the sequences once: in a new order, or, when not shuffled, in theirs.
  Sampler(uint64_t seed, int64_t sequences_per_epoch, bool shuffled)
      : seed_(seed), sequences_per_epoch_(sequences_per_epoch), shuffled_(shuffled) {
    CHECK_GE(sequences_per_epoch, 1);
  }

  SampleLocation Locate(int64_t global_sample_index) const {
    CHECK_GE(global_sample_index, 0);
    const int64_t epoch = global_sample_index / sequences_per_epoch_;
    const int64_t index = global_sample_index % sequences_per_epoch_;
    if (!shuffled_) return {epoch, index};
    return {epoch, Permutation(seed_, epoch, sequences_per_epoch_)(index)};
  }

  int64_t sequences_per_epoch() const { return sequences_per_epoch_; }

 private:
  uint64_t seed_;
  int64_t sequences_per_epoch_;
  bool shuffled_;
};

}  // namespace sluice
