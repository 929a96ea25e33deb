#include "data_tools/text/wordpiece_learner.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"
#include "data_tools/text/utf8.h"
#include "data_tools/text/wordpiece.h"

namespace sluice {
namespace {

using Piece = int32_t;                                // index of tokens_
using Pair = uint64_t;                                // first piece << 32 | second
using Word = std::pair<absl::string_view, int64_t>;   // text, count
using CharacterCount = std::pair<uint32_t, int64_t>;  // code point, count
using CharacterCounts = absl::flat_hash_map<uint32_t, int64_t>;

Pair MakePair(Piece first, Piece second) {
  return static_cast<uint64_t>(static_cast<uint32_t>(first)) << 32 | static_cast<uint32_t>(second);
}

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
  struct Candidate {
    int64_t count;
    Pair pair;
    // The best one is the largest: the most frequent, then the one with the smallest ids.
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  Piece AddToken(std::string token) {
    const auto [where, is_new] = ids_.emplace(token, static_cast<Piece>(tokens_.size()));
    if (is_new) tokens_.push_back(std::move(token));
    return where->second;
  }
  void CutWords(const std::vector<uint32_t>& alphabet);
  void AddPairs(int32_t word, int64_t sign);
  void MergePair(Pair pair);
  bool MergeInWord(int32_t word, Pair pair, Piece merged);
  std::string MergedText(Pair pair) const;

  const std::vector<Word>& words_;
  const WordPieceLearnerOptions& options_;
  std::vector<std::string> tokens_;
  absl::flat_hash_map<std::string, Piece> ids_;
  std::vector<std::vector<Piece>> pieces_;  // of each word
  absl::flat_hash_map<Pair, int64_t> counts_;
  absl::flat_hash_map<Pair, std::vector<int32_t>>
      occurrences_;                            // words; some only had the pair once
  std::priority_queue<Candidate> candidates_;  // a pair's count here is never below the true one
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
    bool first = true;
    ForEachCodePoint(words_[i].first, [&](uint32_t c, absl::string_view) {
      const bool starts = std::exchange(first, false);
      const auto found = pieces.find(c);
      if (found == pieces.end()) return;
      pieces_[i].push_back(starts ? found->second.start : found->second.inside);
    });
  }
}

void Learner::AddPairs(int32_t word, int64_t sign) {
  const std::vector<Piece>& pieces = pieces_[word];
  for (size_t i = 1; i < pieces.size(); ++i) {
    counts_[MakePair(pieces[i - 1], pieces[i])] += sign * words_[word].second;
  }
}

std::string Learner::MergedText(Pair pair) const {
  absl::string_view second = tokens_[pair & 0xFFFFFFFF];
  second.remove_prefix(2);  // a second piece always begins with ##
  return absl::StrCat(tokens_[pair >> 32], second);
}

// Puts `merged` in the place of the pair, from the left. False when the word has no such pair.
bool Learner::MergeInWord(int32_t word, Pair pair, Piece merged) {
  std::vector<Piece>& pieces = pieces_[word];
  const auto is_pair = [&](size_t i) { return MakePair(pieces[i], pieces[i + 1]) == pair; };
  size_t from = 0;
  while (from + 1 < pieces.size() && !is_pair(from)) ++from;
  if (from + 1 >= pieces.size()) return false;
  AddPairs(word, -1);
  size_t to = from;
  while (from < pieces.size()) {
    if (from + 1 < pieces.size() && is_pair(from)) {
      pieces[to++] = merged;
      from += 2;
    } else {
      pieces[to++] = pieces[from++];
    }
  }
  pieces.resize(to);
  AddPairs(word, 1);
  return true;
}

void Learner::MergePair(Pair pair) {
  const Piece merged = AddToken(MergedText(pair));
  std::vector<int32_t> words = std::move(occurrences_[pair]);
  occurrences_.erase(pair);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::vector<Pair> grown;
  for (const int32_t word : words) {
    if (!MergeInWord(word, pair, merged)) continue;
    const std::vector<Piece>& pieces = pieces_[word];
    for (size_t i = 1; i < pieces.size(); ++i) {
      if (pieces[i - 1] != merged && pieces[i] != merged) continue;
      grown.push_back(MakePair(pieces[i - 1], pieces[i]));
      occurrences_[grown.back()].push_back(word);
    }
  }
  std::sort(grown.begin(), grown.end());
  grown.erase(std::unique(grown.begin(), grown.end()), grown.end());
  for (const Pair candidate : grown) candidates_.push({counts_[candidate], candidate});
}

void Learner::Merge() {
  for (int32_t word = 0; word < static_cast<int32_t>(pieces_.size()); ++word) {
    AddPairs(word, 1);
    const std::vector<Piece>& pieces = pieces_[word];
    for (size_t i = 1; i < pieces.size(); ++i) {
      occurrences_[MakePair(pieces[i - 1], pieces[i])].push_back(word);
    }
  }
  for (const auto& [pair, count] : counts_) candidates_.push({count, pair});
  while (!candidates_.empty() && static_cast<int64_t>(tokens_.size()) < options_.size) {
    const Candidate best = candidates_.top();
    candidates_.pop();
    if (best.count < options_.minimum_frequency) return;
    const int64_t count = counts_[best.pair];
    if (count == best.count) {
      MergePair(best.pair);
    } else if (count > 0) {
      candidates_.push({count, best.pair});  // it has lost occurrences to other pairs
    }
  }
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
