#include "data_tools/text/pair_learner.h"

#include <algorithm>
#include <utility>

namespace sluice {

PairLearner::PairLearner(std::vector<Word> words) : words_(std::move(words)) {
  for (size_t w = 0; w < words_.size(); ++w) {
    AddPairs(words_[w], 1);
    const std::vector<int32_t>& pieces = words_[w].pieces;
    for (size_t i = 1; i < pieces.size(); ++i) {
      occurrences_[MakePair(pieces[i - 1], pieces[i])].push_back(static_cast<int32_t>(w));
    }
  }
  for (const auto& [pair, count] : counts_) candidates_.push({count, pair});
}

void PairLearner::AddPairs(const Word& word, int64_t sign) {
  for (size_t i = 1; i < word.pieces.size(); ++i) {
    counts_[MakePair(word.pieces[i - 1], word.pieces[i])] += sign * word.count;
  }
}

// Puts `merged` in the place of the pair, from the left. False when the word has no such pair.
bool PairLearner::MergeInWord(Word* word, Pair pair, int32_t merged) {
  std::vector<int32_t>& pieces = word->pieces;
  const auto is_pair = [&](size_t i) { return MakePair(pieces[i], pieces[i + 1]) == pair; };
  size_t from = 0;
  while (from + 1 < pieces.size() && !is_pair(from)) ++from;
  if (from + 1 >= pieces.size()) return false;
  AddPairs(*word, -1);
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
  AddPairs(*word, 1);
  return true;
}

void PairLearner::MergePair(Pair pair, int32_t merged) {
  std::vector<int32_t> words = std::move(occurrences_[pair]);
  occurrences_.erase(pair);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::vector<Pair> grown;
  for (const int32_t word : words) {
    if (!MergeInWord(&words_[word], pair, merged)) continue;
    const std::vector<int32_t>& pieces = words_[word].pieces;
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

void PairLearner::Merge(int64_t minimum_frequency, absl::FunctionRef<bool()> wants_more,
                        absl::FunctionRef<int32_t(int32_t first, int32_t second)> add) {
  while (!candidates_.empty() && wants_more()) {
    const Candidate best = candidates_.top();
    candidates_.pop();
    if (best.count < minimum_frequency) return;
    const int64_t count = counts_[best.pair];
    if (count == best.count) {
      MergePair(best.pair, add(static_cast<int32_t>(best.pair >> 32),
                               static_cast<int32_t>(best.pair & 0xFFFFFFFF)));
    } else if (count > 0) {
      candidates_.push({count, best.pair});  // it has lost occurrences to other pairs
    }
  }
}

}  // namespace sluice
