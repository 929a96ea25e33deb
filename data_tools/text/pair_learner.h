// Learns which neighbouring pieces of words to merge: the pair that is most frequent in all words
// becomes a piece, again and again (the byte-pair merges of Sennrich et al., "Neural Machine
// Translation of Rare Words with Subword Units", ACL 2016). Of equally frequent pairs the one with
// the smaller ids, first piece before second, is merged first, as in the Python package
// `tokenizers`. What the learners of WordPiece and of byte-level BPE have in common.
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace sluice {

class PairLearner {
 public:
  struct Word {
    std::vector<int32_t> pieces;
    int64_t count = 0;  // how often the word occurs
  };

  explicit PairLearner(std::vector<Word> words);

  // Merges as long as there is a pair of at least `minimum_frequency` and `wants_more` says so;
  // `add` gives the merged piece its id, which may be that of an earlier one.
  void Merge(int64_t minimum_frequency, absl::FunctionRef<bool()> wants_more,
             absl::FunctionRef<int32_t(int32_t first, int32_t second)> add);

 private:
  using Pair = uint64_t;  // first piece << 32 | second
  struct Candidate {
    int64_t count;
    Pair pair;
    // The best one is the largest: the most frequent, then the one with the smallest ids.
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  static Pair MakePair(int32_t first, int32_t second) {
    return static_cast<uint64_t>(static_cast<uint32_t>(first)) << 32 |
           static_cast<uint32_t>(second);
  }
  void AddPairs(const Word& word, int64_t sign);
  void MergePair(Pair pair, int32_t merged);
  bool MergeInWord(Word* word, Pair pair, int32_t merged);

  std::vector<Word> words_;
  absl::flat_hash_map<Pair, int64_t> counts_;
  absl::flat_hash_map<Pair, std::vector<int32_t>>
      occurrences_;                            // words; some only had the pair once
  std::priority_queue<Candidate> candidates_;  // a pair's count here is never below the true one
};

}  // namespace sluice
