// Targets of the masked language model, as a pure function of (seed, global sample index,
// position): the same for any split into ranks, micro-batches and threads, new in every epoch
// because the global index goes on.
//
// Each position that holds no special token is a target with `probability`. A target's token is
// replaced by [MASK] (share `mask_share`), by a uniform random id of the whole vocabulary
// (`random_share`; it may draw a special id or the token itself, as Hugging Face's
// DataCollatorForLanguageModeling does), or stays.
//
//   const MlmMasking masking({…}, MlmMasking::TrainingKey(seed));
//   masking.Apply(sample_index, /*first_position=*/b * T, row, &positions, &targets);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/philox.h"
#include "data/shard_format.h"

namespace sluice {

struct MlmMaskingSettings {
  double probability = 0.15;
  double mask_share = 0.8;    // of the targets
  double random_share = 0.1;  // of the targets
  int64_t vocabulary_size = 0;
  SpecialTokenIds special;  // special.mask >= 0 unless no target becomes [MASK]
};

class MlmMasking {
 public:
  // Training and evaluation with the same seed draw different masks.
  static PhiloxKey TrainingKey(uint64_t seed) {
    return MakePhiloxKey(seed, RandomPurpose::kMasking, 0);
  }
  static PhiloxKey EvaluationKey(uint64_t seed) {
    return MakePhiloxKey(seed, RandomPurpose::kMasking, 1);
  }

  MlmMasking(const MlmMaskingSettings& settings, PhiloxKey key);

  // Masks `row` (T tokens of sample `sample_index`) in place; appends each target's place,
  // first_position + t, rising, and its original id.
  void Apply(int64_t sample_index, int32_t first_position, std::span<int32_t> row,
             std::vector<int32_t>* positions, std::vector<int32_t>* targets) const;

 private:
  bool IsSpecial(int32_t id) const;

  MlmMaskingSettings settings_;
  PhiloxKey key_;
};

}  // namespace sluice
