// What BERT's text normalization and the words of byte-level BPE need to know of Unicode, as
// ranges: the behaviour of the Python package `tokenizers` (BertNormalizer and BertPreTokenizer;
// ByteLevel), asked code point by code point by make_unicode_tables.py. Only
// data_tools/text/code_point_map.cc and data_tools/text/character_class.cc read these.
#pragma once

#include <cstdint>
#include <span>

namespace sluice {

struct CodePointRange {
  uint32_t first, last;  // inclusive
};
struct CombiningRange {
  uint32_t first, last;
  uint32_t combining_class;
};
// Every step-th code point from first to last has the lower case `itself + delta`.
struct LowerCaseRange {
  uint32_t first, last;
  uint32_t step;
  int32_t delta;
};
struct CodePointSequence {
  uint32_t from;
  uint32_t to[4];  // zero-padded
};

struct UnicodeTables {
  std::span<const CodePointRange> removed;      // control, format and private-use characters
  std::span<const CodePointRange> space;        // mapped to a space
  std::span<const CodePointRange> ideographs;   // CJK: a space is put on both sides
  std::span<const CodePointRange> punctuation;  // a word of their own, after normalization
  // Canonical decomposition followed by the removal of nonspacing marks (Mn), but for Hangul
  // syllables, which are decomposed by arithmetic:
  std::span<const CodePointRange> accents;    // removed; combining characters may pass them
  std::span<const CodePointRange> barriers;   // removed; combining class 0, nothing passes them
  std::span<const CombiningRange> combining;  // kept although their class is not 0
  // But for U+0130, whose lower case is two characters when accents are kept.
  std::span<const LowerCaseRange> lower_case;
  std::span<const CodePointRange> single_runs;   // become one other code point (decomposition):
  std::span<const uint32_t> single_targets;      // the runs' targets in a row
  std::span<const CodePointSequence> sequences;  // become several
};

const UnicodeTables& BertUnicodeTables();

// \p{L}, \p{N} and \s as the regular expression of byte-level BPE sees them (Unicode 16); disjoint.
struct CharacterClassTables {
  std::span<const CodePointRange> letters;
  std::span<const CodePointRange> numbers;
  std::span<const CodePointRange> spaces;
};

const CharacterClassTables& BytePairCharacterClasses();

}  // namespace sluice
