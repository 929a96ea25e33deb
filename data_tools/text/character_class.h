// Letter, number, white space or none of these: what the words of byte-level BPE are told apart by.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data_tools/text/utf8.h"

namespace sluice {

enum class CharacterClass : uint8_t { kOther, kLetter, kNumber, kSpace };

// One table look-up a code point. Immutable, so it may be shared by threads.
class CharacterClassMap {
 public:
  // The classes of unicode_tables.h.
  static const CharacterClassMap& OfBytePair();

  struct Character {
    CharacterClass character_class;
    uint32_t bytes;
  };
  // The character at `begin` < `end`; an ill-formed sequence is U+FFFD.
  Character At(const char* begin, const char* end) const {
    const auto byte = static_cast<uint8_t>(*begin);
    if (byte < 0x80) return {cells_[byte], 1};  // block 0 comes first
    const DecodedCodePoint decoded = DecodeUtf8(begin, end);
    return {(*this)[decoded.value], decoded.bytes};
  }
  // code_point < 0x110000.
  CharacterClass operator[](uint32_t code_point) const {
    return cells_[blocks_[code_point >> kBlockBits] << kBlockBits | (code_point & kBlockMask)];
  }

 private:
  CharacterClassMap();

  static constexpr uint32_t kBlockBits = 8;
  static constexpr uint32_t kBlockMask = (1u << kBlockBits) - 1;
  std::vector<uint16_t> blocks_;       // block of 256 code points → which of the different blocks
  std::vector<CharacterClass> cells_;  // the different blocks
};

}  // namespace sluice
