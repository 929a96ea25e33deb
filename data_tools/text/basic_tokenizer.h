// BERT's normalizer and pre-tokenizer: text in, normalized words out. As BertNormalizer and
// BertPreTokenizer of the Python package `tokenizers`: control characters are removed, CJK
// ideographs and punctuation are words of their own, accents are dropped (canonical decomposition
// without nonspacing marks), every character is lower-cased by itself (so no final sigma).
// Ill-formed UTF-8 reads as U+FFFD, which is removed.
//
//   BasicTokenizer tokenizer({.lower_case = true, .strip_accents = true});
//   tokenizer.ForEachWord("Ça va?", [](absl::string_view word, int64_t characters) { … });
//   → "ca" 2, "va" 2, "?" 1
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>

#include "absl/strings/string_view.h"
#include "core/check.h"
#include "data_tools/text/code_point_map.h"
#include "data_tools/text/utf8.h"

namespace sluice {

// Immutable, so it may be shared by threads.
class BasicTokenizer {
 public:
  explicit BasicTokenizer(const NormalizationOptions& options);

  // Calls emit(word, number of its code points) for each word of `text` in order. The word's bytes
  // are valid during the call only.
  template <typename Emit>
  void ForEachWord(absl::string_view text, Emit emit) const;

 private:
  // The word that is being put together. Its buffer never grows: no code point becomes more than
  // three times as long (the constructor checks that).
  struct Word {
    explicit Word(size_t text_bytes)
        : storage(std::make_unique_for_overwrite<char[]>(text_bytes * kLargestGrowth + 4)),
          begin(storage.get()),
          end(begin),
          barrier(begin) {}
    std::unique_ptr<char[]> storage;
    char* const begin;
    char* end;
    char* barrier;  // combining characters do not move before this
    int64_t characters = 0;
  };
  static constexpr size_t kLargestGrowth = 3;

  template <typename Emit>
  static void Flush(Word* word, Emit& emit) {
    if (word->end != word->begin) {
      emit(absl::string_view(word->begin, word->end - word->begin), word->characters);
    }
    word->end = word->barrier = word->begin;
    word->characters = 0;
  }
  static void Append(uint32_t code_point, Word* word) {
    word->end = EncodeUtf8(code_point, word->end);
    ++word->characters;
  }
  template <typename Emit>
  void Add(MappedCodePoint mapped, Word* word, Emit& emit) const;
  // Puts it where canonical ordering wants it.
  static void AddCombining(uint32_t code_point, Word* word);

  CodePointMap map_;
  // For bytes: the normalized character of an ASCII character that goes into words; 0 for others.
  std::array<char, 256> ascii_word_;
};

template <typename Emit>
void BasicTokenizer::Add(MappedCodePoint mapped, Word* word, Emit& emit) const {
  switch (mapped.kind) {
    case CodePointKind::kWord:
      return Append(mapped.value, word);
    case CodePointKind::kSpace:
      return Flush(word, emit);
    case CodePointKind::kPunctuation:
    case CodePointKind::kIdeograph:
      Flush(word, emit);
      Append(mapped.value, word);
      return Flush(word, emit);
    case CodePointKind::kDropped:
      return;
    case CodePointKind::kBarrier:
      word->barrier = word->end;
      return;
    case CodePointKind::kCombining:
      return AddCombining(mapped.value, word);
    case CodePointKind::kHangul: {
      std::array<uint32_t, 3> letters;
      const int count = DecomposeHangul(mapped.value, &letters);
      for (int i = 0; i < count; ++i) Append(letters[i], word);
      return;
    }
    case CodePointKind::kSequence: {
      const CodePointMap::Sequence& sequence = map_.sequence(mapped.value);
      for (uint32_t i = 0; i < sequence.count; ++i) Add(sequence.items[i], word, emit);
      return;
    }
  }
}

template <typename Emit>
void BasicTokenizer::ForEachWord(absl::string_view text, Emit emit) const {
  Word word(text.size());
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    char* out = word.end;
    while (p < end) {
      const char c = ascii_word_[static_cast<uint8_t>(*p)];
      if (c == 0) break;
      *out++ = c;
      ++p;
    }
    word.characters += out - word.end;
    word.end = out;
    if (p == end) break;
    if (*p == ' ') {
      Flush(&word, emit);
      ++p;
      continue;
    }
    const DecodedCodePoint decoded = DecodeUtf8(p, end);
    Add(map_[decoded.value], &word, emit);
    p += decoded.bytes;
  }
  Flush(&word, emit);
}

}  // namespace sluice
