// Text files → a folder with a learnt vocabulary: reads, learns (wordpiece_learner.h,
// byte_pair_learner.h), writes what LoadTokenizer reads.
//
//   RETURN_IF_ERROR(LearnVocabulary({.texts = {"wiki.txt.xz"}, .folder =
//   "data/vocabulary"}).status());
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data_tools/text/wordpiece_learner.h"

namespace sluice {

struct LearnVocabularyOptions {
  std::vector<std::string> texts;  // text_reader.h
  std::string folder;              // made when it is missing
  std::string tokenizer = "wordpiece";
  bool cased = false;               // bpe: always
  WordPieceLearnerOptions learner;  // bpe: has no alphabet_limit
};

// Writes the vocabulary's files (tokenizer.h) and tokenizer.yaml (kind, cased, size, sha256).
// Warns when fewer tokens than wanted were found, and of ill-formed UTF-8. UsageError for an
// unknown tokenizer and a size without room for the alphabet; DataError for texts, and when the
// folder holds another vocabulary already or cannot be written.
absl::StatusOr<LearnedVocabulary> LearnVocabulary(const LearnVocabularyOptions& options);

}  // namespace sluice
