// Whether two batches are the same in every field.
#pragma once

#include "data/batch.h"

namespace sluice::testing {

inline bool SameBatch(const Batch& a, const Batch& b) {
  return a.B == b.B && a.T == b.T && a.tokens == b.tokens && a.segments == b.segments &&
         a.lengths == b.lengths && a.documents == b.documents && a.sample_index == b.sample_index &&
         a.target_positions == b.target_positions && a.targets == b.targets &&
         a.next_sentence_labels == b.next_sentence_labels;
}

}  // namespace sluice::testing
