// Learns a vocabulary of byte-level BPE from text: the 256 bytes, and then what the most frequent
// pairs of neighbours are merged to (pair_learner.h), as ByteLevelBPETokenizer.train of the Python
// package `tokenizers` does.
//
// The order of the tokens, and so the ids, is defined: OPT's special tokens; bytes, by the code
// points of their characters (data/byte_alphabet.h); merged tokens as they were found. The same
// text gives the same vocabulary, in whatever order its lines come.
//
//   BytePairWordCounter words;
//   words.Add("a line of text");
//   ASSIGN_OR_RETURN(LearnedBytePairs learned, LearnBytePairs(words, {.size = 8000}));
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data_tools/text/byte_pair_vocabulary.h"

namespace sluice {

// How often each word (byte_pair_words.h) occurs.
class BytePairWordCounter {
 public:
  void Add(absl::string_view text);
  const absl::flat_hash_map<std::string, int64_t>& counts() const { return counts_; }
  int64_t total() const { return total_; }

 private:
  absl::flat_hash_map<std::string, int64_t> counts_;
  int64_t total_ = 0;
};

struct BytePairLearnerOptions {
  int64_t size = 50265;           // tokens wanted, special ones included
  int64_t minimum_frequency = 2;  // of a pair to become a token
};

struct LearnedBytePairs {
  std::vector<std::string> tokens;  // may be fewer than wanted when the text is too small
  std::vector<BytePairMerge> merges;
};

// UsageError when the wanted size has no room for the bytes; DataError when there are no words.
absl::StatusOr<LearnedBytePairs> LearnBytePairs(const BytePairWordCounter& words,
                                                const BytePairLearnerOptions& options);

// The bytes of vocab.json and merges.txt, as the package writes them.
std::string VocabularyJsonText(const LearnedBytePairs& learned);
std::string MergesText(const LearnedBytePairs& learned);

}  // namespace sluice
