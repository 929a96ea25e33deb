// One table look-up a code point for the whole of BERT's text normalization: clean, separate CJK
// ideographs, decompose and drop accents, lower-case, classify.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace sluice {

struct NormalizationOptions {
  bool lower_case = true;
  bool strip_accents = true;  // BERT: the same as lower_case
};

enum class CodePointKind : uint8_t {
  kWord,         // goes into the current word
  kSpace,        // ends it
  kPunctuation,  // ends it and is a word of its own
  kIdeograph,    // the same (a CJK ideograph)
  kDropped,      // leaves no trace
  kBarrier,      // is dropped, but combining characters after it do not move before it
  kCombining,    // goes into the word, in canonical order among its kCombining neighbours
  kHangul,       // a syllable to be decomposed by arithmetic
  kSequence,     // `value` is an index for CodePointMap::Sequence
};

struct MappedCodePoint {
  uint32_t value : 24;
  CodePointKind kind : 8;
};

// Immutable, so it may be shared by threads.
class CodePointMap {
 public:
  explicit CodePointMap(const NormalizationOptions& options);

  // code_point < 0x110000.
  MappedCodePoint operator[](uint32_t code_point) const {
    return cells_[blocks_[code_point >> kBlockBits] << kBlockBits | (code_point & kBlockMask)];
  }
  // The code points, none of them a kSequence, that a kSequence stands for; `count` of them.
  struct Sequence {
    uint32_t count = 0;
    std::array<MappedCodePoint, 4> items;
  };
  const Sequence& sequence(uint32_t index) const { return sequences_[index]; }

 private:
  static constexpr uint32_t kBlockBits = 7;
  static constexpr uint32_t kBlockMask = (1u << kBlockBits) - 1;
  std::vector<uint16_t> blocks_;  // block of 128 code points → which of the different blocks
  std::vector<MappedCodePoint> cells_;  // the different blocks
  std::vector<Sequence> sequences_;
};

// Canonical combining class as far as it matters after the removal of accents: 0 for all but a few.
uint32_t CombiningClass(uint32_t code_point);

// A Hangul syllable's two or three conjoining letters; returns how many.
int DecomposeHangul(uint32_t syllable, std::array<uint32_t, 3>* letters);

}  // namespace sluice
