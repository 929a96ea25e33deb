// How byte-level BPE divides text into words, which it then cuts into tokens one by one: GPT-2's
// regular expression
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, and its published
// code), as the Python package `tokenizers` matches it. Every byte of the text is in one word. In
// words of their own are therefore: what an English apostrophe leads in; letters, digits and
// other characters, each run with the one space before it; and white space that is left over, less
// its last character when a word follows.
//
//   ForEachBytePairWord("It's  12 m.", [](absl::string_view word) { … });
//   → "It" "'s" " " " 12" " m" "."
#pragma once

#include "absl/strings/string_view.h"
#include "data_tools/text/character_class.h"

namespace sluice {
namespace byte_pair_words {

// How long the contraction at `begin` < `end`, an apostrophe, is; 0 when it is none.
inline size_t ContractionBytes(const char* begin, const char* end) {
  if (end - begin < 2) return 0;
  switch (begin[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return end - begin >= 3 && begin[2] == 'e' ? 3 : 0;
    case 'l':
      return end - begin >= 3 && begin[2] == 'l' ? 3 : 0;
    default:
      return 0;
  }
}

// The end of the white space at `begin` that becomes one word.
inline const char* WhiteSpaceEnd(const CharacterClassMap& classes, const char* begin,
                                 const char* end) {
  const char* last = begin;
  const char* p = begin;
  while (p < end) {
    const auto [character_class, bytes] = classes.At(p, end);
    if (character_class != CharacterClass::kSpace) break;
    last = p;
    p += bytes;
  }
  return p == end || last == begin ? p : last;
}

}  // namespace byte_pair_words

template <typename Emit>
void ForEachBytePairWord(absl::string_view text, Emit emit) {
  const CharacterClassMap& classes = CharacterClassMap::OfBytePair();
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto take = [&](const char* word_end) {
    emit(absl::string_view(p, static_cast<size_t>(word_end - p)));
    p = word_end;
  };
  while (p < end) {
    if (*p == '\'') {
      if (const size_t bytes = byte_pair_words::ContractionBytes(p, end); bytes > 0) {
        take(p + bytes);
        continue;
      }
    }
    const char* q = p + (*p == ' ' ? 1 : 0);
    const CharacterClassMap::Character first =
        q < end ? classes.At(q, end) : CharacterClassMap::Character{CharacterClass::kSpace, 0};
    if (first.character_class == CharacterClass::kSpace) {
      take(byte_pair_words::WhiteSpaceEnd(classes, p, end));
      continue;
    }
    q += first.bytes;
    while (q < end) {
      const auto [character_class, bytes] = classes.At(q, end);
      if (character_class != first.character_class) break;
      q += bytes;
    }
    take(q);
  }
}

}  // namespace sluice
