#include "data/sequence_packing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {

absl::StatusOr<SequencePacking> SequencePacking::Create(const std::string& name,
                                                        int64_t sequence_length,
                                                        const TokenStore& store) {
  CHECK_GE(sequence_length, 1);
  SequencePacking packing;
  packing.sequence_length_ = sequence_length;
  if (name == "contiguous") {
    packing.AddBlock(0, store.token_count());
  } else if (name == "blocks_of_1000_rows") {
    int64_t row = 0, begin = 0;
    RETURN_IF_ERROR(store.VisitRowOffsets([&](int64_t position) {
      const bool last = position == store.token_count();
      if (position > 0 && (last || row % kRowsPerPackingBlock == 0)) {
        packing.AddBlock(begin, position);
        begin = position;
      }
      ++row;
    }));
  } else {
    return UsageError("data.packing is unknown", name, "known: contiguous, blocks_of_1000_rows");
  }
  if (packing.sequence_count() == 0) {
    return DataError("data set is too short for one sequence", "",
                     absl::StrCat(store.token_count(), " tokens, sequence length ", sequence_length,
                                  ", packing ", name));
  }
  return packing;
}

void SequencePacking::AddBlock(int64_t begin, int64_t end) {
  const int64_t sequences = (end - begin) / sequence_length_;
  dropped_tokens_ += (end - begin) % sequence_length_;
  if (sequences == 0) return;
  block_begin_.push_back(begin);
  first_sequence_.push_back(first_sequence_.back() + sequences);
}

int64_t SequencePacking::Begin(int64_t sequence) const {
  CHECK(sequence >= 0 && sequence < sequence_count()) << "sequence " << sequence;
  const auto block = static_cast<size_t>(
      std::upper_bound(first_sequence_.begin(), first_sequence_.end(), sequence) -
      first_sequence_.begin() - 1);
  return block_begin_[block] + (sequence - first_sequence_[block]) * sequence_length_;
}

}  // namespace sluice
