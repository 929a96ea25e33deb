#include "data_tools/text/character_class.h"

#include <algorithm>
#include <map>
#include <span>

#include "data_tools/text/unicode_tables.h"

namespace sluice {

CharacterClassMap::CharacterClassMap() {
  constexpr size_t kCodePoints = 0x110000;
  std::vector<CharacterClass> all(kCodePoints, CharacterClass::kOther);
  const auto fill = [&all](std::span<const CodePointRange> ranges, CharacterClass value) {
    for (const CodePointRange& range : ranges) {
      std::fill(all.begin() + range.first, all.begin() + range.last + 1, value);
    }
  };
  const CharacterClassTables& tables = BytePairCharacterClasses();
  fill(tables.letters, CharacterClass::kLetter);
  fill(tables.numbers, CharacterClass::kNumber);
  fill(tables.spaces, CharacterClass::kSpace);
  std::map<std::vector<CharacterClass>, uint16_t> different;
  for (size_t begin = 0; begin < kCodePoints; begin += kBlockMask + 1) {
    const std::vector<CharacterClass> block(all.begin() + begin,
                                            all.begin() + begin + kBlockMask + 1);
    const auto [found, is_new] = different.emplace(block, different.size());
    if (is_new) cells_.insert(cells_.end(), block.begin(), block.end());
    blocks_.push_back(found->second);
  }
}

const CharacterClassMap& CharacterClassMap::OfBytePair() {
  static const CharacterClassMap& map = *new CharacterClassMap();
  return map;
}

}  // namespace sluice
