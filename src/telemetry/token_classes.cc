#include "telemetry/token_classes.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "core/check.h"
#include "core/utf8.h"
#include "data/byte_alphabet.h"
#include "telemetry/gate_statistics.h"

namespace sluice {
namespace {

// After the classes of special tokens, in this order.
enum TextClass : uint8_t { kFirst, kPunctuation, kWord, kContinuation };

// Beyond ASCII the marks of Western and East Asian text: of Unicode's categories P those in
// Latin-1, General Punctuation, CJK Symbols and the full-width forms.
bool IsPunctuationMark(uint32_t code_point) {
  struct Range {
    uint32_t first, last;
  };
  static constexpr Range kMarks[] = {
      {0xA1, 0xA1},     {0xA7, 0xA7},     {0xAB, 0xAB},     {0xB6, 0xB7},     {0xBB, 0xBB},
      {0xBF, 0xBF},     {0x2010, 0x2027}, {0x2030, 0x2043}, {0x2045, 0x2051}, {0x2053, 0x205E},
      {0x3001, 0x3003}, {0x3008, 0x3011}, {0x3014, 0x301F}, {0x3030, 0x3030}, {0x303D, 0x303D},
      {0xFF01, 0xFF03}, {0xFF05, 0xFF0A}, {0xFF0C, 0xFF0F}, {0xFF1A, 0xFF1B}, {0xFF1F, 0xFF20},
      {0xFF3B, 0xFF3D}, {0xFF3F, 0xFF3F}, {0xFF5B, 0xFF5B}, {0xFF5D, 0xFF5D}, {0xFF5F, 0xFF65}};
  if (code_point < 0x80) return absl::ascii_ispunct(static_cast<unsigned char>(code_point));
  return std::ranges::any_of(kMarks, [=](const Range& range) {
    return range.first <= code_point && code_point <= range.last;
  });
}

// The character of `bytes`, which are a valid sequence.
uint32_t CodePointOf(absl::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (bytes.size() == 1) return first;
  uint32_t code_point = first & (0x7FU >> bytes.size());
  for (const char c : bytes.substr(1))
    code_point = code_point << 6 | (static_cast<uint32_t>(c) & 0x3F);
  return code_point;
}

// Nothing else, and something.
bool IsPunctuation(absl::string_view text) {
  if (text.empty()) return false;
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    if (length == 0 || !IsPunctuationMark(CodePointOf(text.substr(0, length)))) return false;
    text.remove_prefix(length);
  }
  return true;
}

TextClass ClassOfWordPiece(absl::string_view piece) {
  if (absl::StartsWith(piece, "##") && piece.size() > 2) return kContinuation;
  return IsPunctuation(piece) ? kPunctuation : kWord;
}

TextClass ClassOfBytePair(const std::string& piece) {
  const std::string bytes = BytesOfToken(piece).value_or(piece);
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(bytes);
  if (IsPunctuation(text)) return kPunctuation;
  return text.size() < bytes.size() ? kWord : kContinuation;
}

std::vector<std::string> SpecialClasses(const TokenizerIdentity& tokenizer) {
  if (tokenizer.kind == "bpe") return {"separator"};
  return {"[CLS]", "[SEP]", "[MASK]"};
}

}  // namespace

TokenClasses::TokenClasses(const TokenizerIdentity& tokenizer,
                           const std::vector<std::string>& pieces)
    : names_(SpecialClasses(tokenizer)),
      first_(static_cast<uint8_t>(names_.size())),
      of_id_(tokenizer.vocabulary_size, first_ + kWord) {
  names_.insert(names_.end(), {"first", "punctuation", "word", "continuation"});
  const bool is_byte_pair = tokenizer.kind == "bpe";
  for (size_t id = 0; id < std::min(pieces.size(), of_id_.size()); ++id) {
    of_id_[id] =
        first_ + (is_byte_pair ? ClassOfBytePair(pieces[id]) : ClassOfWordPiece(pieces[id]));
  }
  const auto set = [&](int32_t id, uint8_t token_class) {
    if (id >= 0 && id < tokenizer.vocabulary_size) of_id_[id] = token_class;
  };
  const SpecialTokenIds& special = tokenizer.special;
  if (is_byte_pair) {
    set(special.bos, 0);
    set(special.eos, 0);
  } else {
    set(special.cls, 0);
    set(special.sep, 1);
    set(special.mask, 2);
  }
  set(special.pad, kUncountedToken);
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
      const bool is_first = t == 0 && of_id >= first_ && of_id != kUncountedToken;
      classes[at] = is_first ? first_ : of_id;
    }
  }
}

}  // namespace sluice
