#include "data_tools/text/code_point_map.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>

#include "core/check.h"
#include "data_tools/text/unicode_tables.h"

namespace sluice {
namespace {

constexpr uint32_t kCodePoints = 0x110000;
constexpr uint32_t kCapitalIWithDot = 0x130;  // lower case: i and U+0307
constexpr uint32_t kFirstHangul = 0xAC00, kLastHangul = 0xD7A3;

using Cells = std::vector<MappedCodePoint>;

template <typename Body>
void ForEach(std::span<const CodePointRange> ranges, Body body) {
  for (const CodePointRange& range : ranges) {
    for (uint32_t c = range.first; c <= range.last; ++c) body(c);
  }
}

std::vector<uint32_t> LowerCase(const UnicodeTables& tables, bool on) {
  std::vector<uint32_t> lower(kCodePoints);
  for (uint32_t c = 0; c < kCodePoints; ++c) lower[c] = c;
  if (!on) return lower;
  for (const LowerCaseRange& range : tables.lower_case) {
    for (uint32_t c = range.first; c <= range.last; c += range.step) lower[c] = c + range.delta;
  }
  return lower;
}

// What the last step, the split into words, makes of a normalized character.
Cells Classes(const UnicodeTables& tables, bool strip_accents) {
  Cells cells(kCodePoints);
  for (uint32_t c = 0; c < kCodePoints; ++c) cells[c] = {c, CodePointKind::kWord};
  ForEach(tables.space, [&](uint32_t c) { cells[c].kind = CodePointKind::kSpace; });
  ForEach(tables.punctuation, [&](uint32_t c) { cells[c].kind = CodePointKind::kPunctuation; });
  if (!strip_accents) return cells;
  for (const CombiningRange& range : tables.combining) {
    for (uint32_t c = range.first; c <= range.last; ++c) cells[c].kind = CodePointKind::kCombining;
  }
  return cells;
}

// Calls body(code point, its decomposition without accents) for all that have one but Hangul.
template <typename Body>
void ForEachDecomposition(const UnicodeTables& tables, Body body) {
  const uint32_t* target = tables.single_targets.data();
  ForEach(tables.single_runs, [&](uint32_t c) { body(c, std::span(target++, 1)); });
  CHECK_EQ(target, tables.single_targets.data() + tables.single_targets.size());
  for (const CodePointSequence& sequence : tables.sequences) {
    const auto length = std::find(sequence.to, sequence.to + 4, 0u) - sequence.to;
    body(sequence.from, std::span(sequence.to, length));
  }
}

}  // namespace

CodePointMap::CodePointMap(const NormalizationOptions& options) {
  const UnicodeTables& tables = BertUnicodeTables();
  const std::vector<uint32_t> lower = LowerCase(tables, options.lower_case);
  const Cells classes = Classes(tables, options.strip_accents);
  Cells cells(kCodePoints);
  for (uint32_t c = 0; c < kCodePoints; ++c) cells[c] = classes[lower[c]];
  const auto add_sequence = [&](uint32_t from, std::span<const uint32_t> to) {
    Sequence sequence{.count = static_cast<uint32_t>(to.size()), .items = {}};
    for (size_t i = 0; i < to.size(); ++i) sequence.items[i] = classes[lower[to[i]]];
    cells[from] = {static_cast<uint32_t>(sequences_.size()), CodePointKind::kSequence};
    sequences_.push_back(sequence);
  };
  if (options.strip_accents) {
    ForEach(tables.accents, [&](uint32_t c) { cells[c] = {0, CodePointKind::kDropped}; });
    ForEach(tables.barriers, [&](uint32_t c) { cells[c] = {0, CodePointKind::kBarrier}; });
    for (uint32_t c = kFirstHangul; c <= kLastHangul; ++c) cells[c] = {c, CodePointKind::kHangul};
    ForEachDecomposition(tables, [&](uint32_t from, std::span<const uint32_t> to) {
      if (to.size() == 1) {
        cells[from] = classes[lower[to[0]]];
      } else {
        add_sequence(from, to);
      }
    });
  } else if (options.lower_case) {
    add_sequence(kCapitalIWithDot, std::array<uint32_t, 2>{'i', 0x307});
  }
  // The steps before the decomposition.
  ForEach(tables.ideographs, [&](uint32_t c) {
    CHECK(cells[c].kind == CodePointKind::kWord) << c;
    cells[c].kind = CodePointKind::kIdeograph;
  });
  ForEach(tables.removed, [&](uint32_t c) { cells[c] = {0, CodePointKind::kDropped}; });
  ForEach(tables.space, [&](uint32_t c) { cells[c] = {0, CodePointKind::kSpace}; });

  // Equal blocks are stored once.
  std::map<std::string, uint16_t> known;
  for (uint32_t begin = 0; begin < kCodePoints; begin += kBlockMask + 1) {
    const std::string block(reinterpret_cast<const char*>(&cells[begin]), sizeof(MappedCodePoint)
                                                                              << kBlockBits);
    const auto [where, is_new] =
        known.emplace(block, static_cast<uint16_t>(cells_.size() >> kBlockBits));
    if (is_new) cells_.insert(cells_.end(), &cells[begin], &cells[begin] + kBlockMask + 1);
    blocks_.push_back(where->second);
  }
}

uint32_t CombiningClass(uint32_t code_point) {
  const std::span<const CombiningRange> ranges = BertUnicodeTables().combining;
  const auto range = std::lower_bound(
      ranges.begin(), ranges.end(), code_point,
      [](const CombiningRange& candidate, uint32_t c) { return candidate.last < c; });
  return range != ranges.end() && range->first <= code_point ? range->combining_class : 0;
}

int DecomposeHangul(uint32_t syllable, std::array<uint32_t, 3>* letters) {
  // The Unicode standard, section 3.12: 19 leading consonants, 21 vowels, 27 trailing or none.
  const uint32_t index = syllable - kFirstHangul;
  *letters = {0x1100 + index / (21 * 28), 0x1161 + index / 28 % 21, 0x11A7 + index % 28};
  return index % 28 == 0 ? 2 : 3;
}

}  // namespace sluice
