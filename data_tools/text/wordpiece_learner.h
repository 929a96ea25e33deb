// Learns a WordPiece vocabulary from text: single characters, and then what the most frequent pairs
// of neighbours are merged to (pair_learner.h), as BertWordPieceTokenizer.train of the Python
// package `tokenizers` does.
//
// The order of the tokens, and so the ids, is defined: special tokens; characters by code point;
// "##" characters by code point; merged pieces as they were found. The same text gives the same
// vocabulary, in whatever order its lines come.
//
//   WordCounter words(/*cased=*/false);
//   words.Add("a line of text");
//   ASSIGN_OR_RETURN(LearnedVocabulary learned, LearnWordPiece(words, {.size = 8000}));
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data_tools/text/basic_tokenizer.h"

namespace sluice {

// How often each normalized word occurs. Words that a tokenizer would not cut anyway, because they
// are too long, are left out.
class WordCounter {
 public:
  explicit WordCounter(bool cased);
  void Add(absl::string_view text);
  const absl::flat_hash_map<std::string, int64_t>& counts() const { return counts_; }
  int64_t total() const { return total_; }

 private:
  BasicTokenizer basic_;
  absl::flat_hash_map<std::string, int64_t> counts_;
  int64_t total_ = 0;
};

struct WordPieceLearnerOptions {
  int64_t size = 30522;           // tokens wanted, special ones included
  int64_t minimum_frequency = 2;  // of a pair to become a piece
  int64_t alphabet_limit = 1000;  // the most frequent characters are kept, others become [UNK]
};

struct LearnedVocabulary {
  std::vector<std::string> tokens;  // may be fewer than wanted when the text is too small
  int64_t words = 0;
  int64_t different_words = 0;
  int64_t characters = 0;            // kept, of
  int64_t different_characters = 0;  // those that occur
};

// UsageError when the wanted size has no room for the alphabet; DataError when there are no words.
absl::StatusOr<LearnedVocabulary> LearnWordPiece(const WordCounter& words,
                                                 const WordPieceLearnerOptions& options);

}  // namespace sluice
