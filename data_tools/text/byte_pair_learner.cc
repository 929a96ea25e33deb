#include "data_tools/text/byte_pair_learner.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/byte_alphabet.h"
#include "data/vocabulary_json.h"
#include "data_tools/text/byte_pair.h"
#include "data_tools/text/byte_pair_words.h"
#include "data_tools/text/pair_learner.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

class Learner {
 public:
  explicit Learner(const BytePairLearnerOptions& options) : options_(options) {
    for (const absl::string_view token : kBytePairSpecialTokens) AddToken(std::string(token));
    // Sorted by their characters: in UTF-8 that is the order of the strings.
    std::vector<std::pair<std::string, uint8_t>> alphabet;
    for (int byte = 0; byte < 256; ++byte) {
      alphabet.emplace_back(ByteCharacter(static_cast<uint8_t>(byte)), byte);
    }
    std::sort(alphabet.begin(), alphabet.end());
    for (auto& [character, byte] : alphabet) id_of_byte_[byte] = AddToken(character);
  }

  int64_t size() const { return static_cast<int64_t>(learned_.tokens.size()); }

  LearnedBytePairs Learn(const BytePairWordCounter& counter) {
    std::vector<PairLearner::Word> words;
    for (const auto& [text, count] : counter.counts()) {
      words.push_back({.pieces = {}, .count = count});
      for (const char c : text) {
        words.back().pieces.push_back(id_of_byte_[static_cast<uint8_t>(c)]);
      }
    }
    PairLearner(std::move(words))
        .Merge(
            options_.minimum_frequency, [this] { return size() < options_.size; },
            [this](int32_t first, int32_t second) {
              const int32_t merged =
                  AddToken(absl::StrCat(learned_.tokens[first], learned_.tokens[second]));
              learned_.merges.push_back({first, second, merged});
              return merged;
            });
    return std::move(learned_);
  }

 private:
  int32_t AddToken(std::string token) {
    const auto [where, is_new] = ids_.emplace(token, static_cast<int32_t>(size()));
    if (is_new) learned_.tokens.push_back(std::move(token));
    return where->second;
  }

  const BytePairLearnerOptions& options_;
  std::array<int32_t, 256> id_of_byte_{};
  absl::flat_hash_map<std::string, int32_t> ids_;
  LearnedBytePairs learned_;
};

}  // namespace

void BytePairWordCounter::Add(absl::string_view text) {
  ForEachBytePairWord(text, [this](absl::string_view word) {
    ++counts_[word];
    ++total_;
  });
}

absl::StatusOr<LearnedBytePairs> LearnBytePairs(const BytePairWordCounter& words,
                                                const BytePairLearnerOptions& options) {
  if (words.counts().empty()) return DataError("text has no words to learn a vocabulary from");
  Learner learner(options);
  if (learner.size() > options.size) {
    return UsageError(
        "vocabulary size has no room for all bytes", "",
        absl::StrCat("size ", options.size, ", needed ", learner.size(), " for ",
                     std::size(kBytePairSpecialTokens), " special tokens and 256 bytes"));
  }
  return learner.Learn(words);
}

std::string VocabularyJsonText(const LearnedBytePairs& learned) {
  std::string text = "{";
  for (size_t id = 0; id < learned.tokens.size(); ++id) {
    absl::StrAppend(&text, id > 0 ? "," : "", nlohmann::json(learned.tokens[id]).dump(), ":", id);
  }
  return text + "}";
}

std::string MergesText(const LearnedBytePairs& learned) {
  std::string text = absl::StrCat(kMergesVersionLine, "\n");
  for (const BytePairMerge& merge : learned.merges) {
    absl::StrAppend(&text, learned.tokens[merge.first], " ", learned.tokens[merge.second], "\n");
  }
  return text;
}

}  // namespace sluice
