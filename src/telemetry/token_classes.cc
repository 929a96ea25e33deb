#include "telemetry/token_classes.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "core/check.h"
#include "telemetry/gate_statistics.h"

namespace sluice {
namespace {

enum Class : uint8_t { kCls, kSep, kMask, kFirst, kPunctuation, kWord, kContinuation };

bool IsPunctuation(const std::string& piece) {
  return !piece.empty() && std::ranges::all_of(piece, [](char c) {
    return absl::ascii_ispunct(static_cast<unsigned char>(c));
  });
}

}  // namespace

TokenClasses::TokenClasses(const TokenizerIdentity& tokenizer,
                           const std::vector<std::string>& pieces)
    : names_({"[CLS]", "[SEP]", "[MASK]", "first", "punctuation", "word", "continuation"}),
      of_id_(tokenizer.vocabulary_size, kWord) {
  for (size_t id = 0; id < std::min(pieces.size(), of_id_.size()); ++id) {
    if (absl::StartsWith(pieces[id], "##") && pieces[id].size() > 2) {
      of_id_[id] = kContinuation;
    } else if (IsPunctuation(pieces[id])) {
      of_id_[id] = kPunctuation;
    }
  }
  const auto set = [&](int32_t id, Class token_class) {
    if (id >= 0 && id < tokenizer.vocabulary_size) of_id_[id] = token_class;
  };
  set(tokenizer.special.cls, kCls);
  set(tokenizer.special.sep, kSep);
  set(tokenizer.special.mask, kMask);
  set(tokenizer.special.pad, static_cast<Class>(kUncountedToken));
}

void TokenClasses::Classify(const Batch& batch, std::vector<uint8_t>& classes) const {
  classes.resize(batch.B * batch.T);
  for (int64_t b = 0; b < batch.B; ++b) {
    const int64_t length = batch.lengths.empty() ? batch.T : batch.lengths[b];
    for (int64_t t = 0; t < batch.T; ++t) {
      const int64_t at = b * batch.T + t;
      const int32_t id = batch.tokens[at];
      CHECK(id >= 0 && id < static_cast<int64_t>(of_id_.size())) << id;
      const uint8_t of_id = t < length ? of_id_[id] : kUncountedToken;
      const bool is_first = t == 0 && of_id >= kFirst && of_id != kUncountedToken;
      classes[at] = is_first ? uint8_t{kFirst} : of_id;
    }
  }
}

}  // namespace sluice
