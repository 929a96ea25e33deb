// Cuts one word into tokens: starting with its bytes, of all pairs of neighbours that have a merge
// the one of the smallest rank becomes one token (of equal ones the leftmost), again and again.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "data_tools/text/byte_pair_vocabulary.h"

namespace sluice {

// Immutable, so it may be shared by threads.
class BytePairMerger {
 public:
  explicit BytePairMerger(const BytePairVocabulary& vocabulary);

  // Appends the tokens of `word`. Time n log n for n bytes, and less than that for short words.
  void Cut(absl::string_view word, std::vector<int32_t>* ids) const;

 private:
  struct Merge {
    int32_t rank = kNever;
    int32_t merged = -1;
  };
  static constexpr int32_t kNever = INT32_MAX;
  // Longer words go to CutLong.
  static constexpr size_t kShortBytes = 48;

  Merge Find(int32_t first, int32_t second) const {
    const auto found = merges_.find(static_cast<uint64_t>(static_cast<uint32_t>(first)) << 32 |
                                    static_cast<uint32_t>(second));
    return found == merges_.end() ? Merge{} : found->second;
  }
  // Looks at all pairs before each merge.
  void CutShort(absl::string_view word, std::vector<int32_t>* ids) const;
  // Keeps the pairs in a heap.
  void CutLong(absl::string_view word, std::vector<int32_t>* ids) const;

  std::array<int32_t, 256> id_of_byte_{};
  absl::flat_hash_map<uint64_t, Merge> merges_;  // first << 32 | second
};

}  // namespace sluice
