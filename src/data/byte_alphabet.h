// Byte-level BPE writes its tokens with one printable character a byte (the published code of
// GPT-2): bytes 0x21…0x7E, 0xA1…0xAC and 0xAE…0xFF are the characters of those numbers, the other
// 68, in order, U+0100…U+0143. So a space is "Ġ" and a line feed "Ċ".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

inline constexpr uint32_t kByteAlphabetEnd = 0x144;  // above the largest character

struct ByteAlphabet {
  std::array<uint16_t, 256> character_of_byte{};
  std::array<int16_t, kByteAlphabetEnd> byte_of_character{};  // -1: not in the alphabet
};

constexpr ByteAlphabet MakeByteAlphabet() {
  ByteAlphabet alphabet;
  for (int16_t& byte : alphabet.byte_of_character) byte = -1;
  uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const uint16_t character = itself ? static_cast<uint16_t>(byte) : next++;
    alphabet.character_of_byte[byte] = character;
    alphabet.byte_of_character[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

inline constexpr ByteAlphabet kByteAlphabet = MakeByteAlphabet();

// The byte's character, in UTF-8.
inline std::string ByteCharacter(uint8_t byte) {
  const uint32_t c = kByteAlphabet.character_of_byte[byte];
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}

// The bytes that `token` (UTF-8) stands for; nothing when one of its characters is none of the
// alphabet's.
inline std::optional<std::string> BytesOfToken(absl::string_view token) {
  std::string bytes;
  for (size_t i = 0; i < token.size(); ++i) {
    uint32_t c = static_cast<uint8_t>(token[i]);
    if (c >= 0x80) {
      if ((c & 0xE0) != 0xC0 || ++i == token.size()) return std::nullopt;
      c = (c & 0x1F) << 6 | (static_cast<uint8_t>(token[i]) & 0x3F);
    }
    if (c >= kByteAlphabetEnd || kByteAlphabet.byte_of_character[c] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kByteAlphabet.byte_of_character[c]));
  }
  return bytes;
}

}  // namespace sluice
