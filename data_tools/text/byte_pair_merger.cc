#include "data_tools/text/byte_pair_merger.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string>
#include <utility>

#include "core/check.h"
#include "data/byte_alphabet.h"

namespace sluice {

BytePairMerger::BytePairMerger(const BytePairVocabulary& vocabulary) {
  absl::flat_hash_map<absl::string_view, int32_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    ids.emplace(vocabulary.tokens[id], static_cast<int32_t>(id));
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids.find(ByteCharacter(static_cast<uint8_t>(byte)));
    CHECK(found != ids.end()) << "byte " << byte;
    id_of_byte_[byte] = found->second;
  }
  merges_.reserve(vocabulary.merges.size());
  for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const auto& [first, second, merged] = vocabulary.merges[rank];
    const uint64_t pair = static_cast<uint64_t>(first) << 32 | static_cast<uint32_t>(second);
    merges_[pair] = {static_cast<int32_t>(rank), merged};
  }
}

void BytePairMerger::Cut(absl::string_view word, std::vector<int32_t>* ids) const {
  if (word.size() <= kShortBytes) {
    CutShort(word, ids);
  } else {
    CutLong(word, ids);
  }
}

void BytePairMerger::CutShort(absl::string_view word, std::vector<int32_t>* ids) const {
  std::array<int32_t, kShortBytes> tokens;
  std::array<Merge, kShortBytes> merges;  // of token i and the next one
  size_t count = word.size();
  for (size_t i = 0; i < count; ++i) tokens[i] = id_of_byte_[static_cast<uint8_t>(word[i])];
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = Find(tokens[i], tokens[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNever) break;
    tokens[best] = merges[best].merged;
    std::copy(tokens.begin() + best + 2, tokens.begin() + count, tokens.begin() + best + 1);
    std::copy(merges.begin() + best + 1, merges.begin() + count - 1, merges.begin() + best);
    --count;
    if (best + 1 < count) merges[best] = Find(tokens[best], tokens[best + 1]);
    if (best > 0) merges[best - 1] = Find(tokens[best - 1], tokens[best]);
  }
  ids->insert(ids->end(), tokens.begin(), tokens.begin() + count);
}

void BytePairMerger::CutLong(absl::string_view word, std::vector<int32_t>* ids) const {
  struct Piece {
    int32_t token;          // -1: was merged into an earlier piece
    int64_t before, after;  // neighbours; -1: none
  };
  struct Candidate {
    Merge merge;
    int64_t at;
    // The smallest rank is on top, and of equal ones the leftmost.
    bool operator>(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : at > other.at;
    }
  };
  const auto count = static_cast<int64_t>(word.size());
  std::vector<Piece> pieces(word.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto consider = [&](int64_t at) {
    const int64_t after = at < 0 ? -1 : pieces[at].after;
    if (after < 0) return;
    const Merge merge = Find(pieces[at].token, pieces[after].token);
    if (merge.rank != kNever) candidates.push({merge, at});
  };
  for (int64_t i = 0; i < count; ++i) {
    pieces[i] = {id_of_byte_[static_cast<uint8_t>(word[i])], i - 1, i + 1 < count ? i + 1 : -1};
  }
  for (int64_t i = 0; i < count; ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Piece& piece = pieces[best.at];
    // Pairs that are gone are still in the heap.
    if (piece.token < 0 || piece.after < 0) continue;
    Piece& next = pieces[piece.after];
    if (Find(piece.token, next.token).rank != best.merge.rank) continue;
    piece.token = best.merge.merged;
    next.token = -1;
    piece.after = next.after;
    if (piece.after >= 0) pieces[piece.after].before = best.at;
    consider(piece.before);
    consider(best.at);
  }
  for (const Piece& piece : pieces) {
    if (piece.token >= 0) ids->push_back(piece.token);
  }
}

}  // namespace sluice
