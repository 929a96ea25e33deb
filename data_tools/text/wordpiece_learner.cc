#include "data_tools/text/wordpiece_learner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"
#include "data_tools/text/pair_learner.h"
#include "data_tools/text/utf8.h"
#include "data_tools/text/wordpiece.h"

namespace sluice {
namespace {

using Piece = int32_t;                                // index of tokens_
using Word = std::pair<absl::string_view, int64_t>;   // text, count
using CharacterCount = std::pair<uint32_t, int64_t>;  // code point, count
using CharacterCounts = absl::flat_hash_map<uint32_t, int64_t>;

template <typename Body>
void ForEachCodePoint(absl::string_view text, Body body) {
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const DecodedCodePoint decoded = DecodeUtf8(p, end);
    body(decoded.value, absl::string_view(p, decoded.bytes));
    p += decoded.bytes;
  }
}

// Sorted, so that nothing depends on the hash map's order.
std::vector<Word> SortedWords(const WordCounter& counter) {
  std::vector<Word> words(counter.counts().begin(), counter.counts().end());
  std::sort(words.begin(), words.end());
  return words;
}

class Learner {
 public:
  Learner(const std::vector<Word>& words, const WordPieceLearnerOptions& options)
      : words_(words), options_(options) {
    for (const absl::string_view token : kWordPieceSpecialTokens) AddToken(std::string(token));
  }

  absl::Status ChooseAlphabet(LearnedVocabulary* learned);
  void Merge();
  std::vector<std::string> TakeTokens() { return std::move(tokens_); }

 private:
  Piece AddToken(std::string token) {
    const auto [where, is_new] = ids_.emplace(token, static_cast<Piece>(tokens_.size()));
    if (is_new) tokens_.push_back(std::move(token));
    return where->second;
  }
  void CutWords(const std::vector<uint32_t>& alphabet);
  std::string MergedText(Piece first, Piece second) const;

  const std::vector<Word>& words_;
  const WordPieceLearnerOptions& options_;
  std::vector<std::string> tokens_;
  absl::flat_hash_map<std::string, Piece> ids_;
  std::vector<PairLearner::Word> pieces_;  // of each word
};

absl::Status Learner::ChooseAlphabet(LearnedVocabulary* learned) {
  CharacterCounts counts;
  for (const Word& word : words_) {
    ForEachCodePoint(word.first, [&](uint32_t c, absl::string_view) { counts[c] += word.second; });
  }
  std::vector<CharacterCount> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end(), [](const CharacterCount& a, const CharacterCount& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  learned->different_characters = static_cast<int64_t>(sorted.size());
  if (learned->different_characters > options_.alphabet_limit) {
    sorted.resize(options_.alphabet_limit);
  }
  learned->characters = static_cast<int64_t>(sorted.size());
  std::vector<uint32_t> alphabet;
  for (const CharacterCount& character : sorted) alphabet.push_back(character.first);
  std::sort(alphabet.begin(), alphabet.end());
  CutWords(alphabet);
  const auto needed = static_cast<int64_t>(tokens_.size());
  if (needed > options_.size) {
    return UsageError("vocabulary size has no room for the text's characters", "",
                      absl::StrCat("size ", options_.size, ", needed ", needed, " for ",
                                   std::size(kWordPieceSpecialTokens), " special tokens and ",
                                   learned->characters, " characters at a word's start or inside"));
  }
  return absl::OkStatus();
}

// Gives the characters ids, those inside of words as far as they occur, and cuts all words into
// characters; characters that are not in the alphabet are left out of their words.
void Learner::CutWords(const std::vector<uint32_t>& alphabet) {
  struct CharacterPieces {
    Piece start = -1, inside = -1;
  };
  absl::flat_hash_map<uint32_t, CharacterPieces> pieces;
  for (const uint32_t c : alphabet) {
    char encoded[4];
    const size_t bytes = EncodeUtf8(c, encoded) - encoded;
    pieces[c].start = AddToken(std::string(encoded, bytes));
  }
  absl::flat_hash_map<uint32_t, bool> is_inside;
  for (const Word& word : words_) {
    bool first = true;
    ForEachCodePoint(word.first, [&](uint32_t c, absl::string_view) {
      if (!std::exchange(first, false)) is_inside[c] = true;
    });
  }
  for (const uint32_t c : alphabet) {
    if (!is_inside.contains(c)) continue;
    pieces[c].inside = AddToken(absl::StrCat("##", tokens_[pieces[c].start]));
  }
  pieces_.resize(words_.size());
  for (size_t i = 0; i < words_.size(); ++i) {
    pieces_[i].count = words_[i].second;
    bool first = true;
    ForEachCodePoint(words_[i].first, [&](uint32_t c, absl::string_view) {
      const bool starts = std::exchange(first, false);
      const auto found = pieces.find(c);
      if (found == pieces.end()) return;
      pieces_[i].pieces.push_back(starts ? found->second.start : found->second.inside);
    });
  }
}

std::string Learner::MergedText(Piece first, Piece second) const {
  absl::string_view rest = tokens_[second];
  rest.remove_prefix(2);  // a second piece always begins with ##
  return absl::StrCat(tokens_[first], rest);
}

void Learner::Merge() {
  PairLearner learner(std::move(pieces_));
  learner.Merge(
      options_.minimum_frequency,
      [this] { return static_cast<int64_t>(tokens_.size()) < options_.size; },
      [this](Piece first, Piece second) { return AddToken(MergedText(first, second)); });
}

}  // namespace

WordCounter::WordCounter(bool cased) : basic_({.lower_case = !cased, .strip_accents = !cased}) {}

void WordCounter::Add(absl::string_view text) {
  basic_.ForEachWord(text, [&](absl::string_view word, int64_t characters) {
    if (characters > WordPieceTokenizer::kLongestWordCharacters) return;
    ++counts_[word];
    ++total_;
  });
}

absl::StatusOr<LearnedVocabulary> LearnWordPiece(const WordCounter& words,
                                                 const WordPieceLearnerOptions& options) {
  if (words.counts().empty()) return DataError("text has no words to learn a vocabulary from");
  LearnedVocabulary learned;
  learned.words = words.total();
  learned.different_words = static_cast<int64_t>(words.counts().size());
  const std::vector<Word> sorted = SortedWords(words);
  Learner learner(sorted, options);
  RETURN_IF_ERROR(learner.ChooseAlphabet(&learned));
  learner.Merge();
  learned.tokens = learner.TakeTokens();
  return learned;
}

}  // namespace sluice
