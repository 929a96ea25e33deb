// UTF-8: decoding that never fails (an ill-formed sequence reads as U+FFFD), encoding, repair.
// What counts as one ill-formed sequence is the "maximal subpart" of the Unicode standard, section
// 3.9, as in Python's errors="replace".
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

inline constexpr uint32_t kReplacementCharacter = 0xFFFD;

struct DecodedCodePoint {
  uint32_t value;
  uint32_t bytes;  // 1…4; how far to go on
  bool valid;      // false: value is U+FFFD
};

// The code point at `begin` < `end`.
inline DecodedCodePoint DecodeUtf8(const char* begin, const char* end) {
  const auto byte = [&](int i) { return static_cast<uint8_t>(begin[i]); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  uint32_t length = 0, low = 0x80, high = 0xBF, value = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2, value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3, value = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;   // shorter forms exist
    if (lead == 0xED) high = 0x9F;  // surrogates
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4, value = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;  // beyond U+10FFFF
  } else {
    return {kReplacementCharacter, 1, false};
  }
  for (uint32_t i = 1; i < length; ++i) {
    if (begin + i == end || byte(i) < low || byte(i) > high) {
      return {kReplacementCharacter, i, false};
    }
    value = value << 6 | (byte(i) & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {value, length, true};
}

// Writes the 1…4 bytes of `value` (a code point that is no surrogate) and returns their end.
inline char* EncodeUtf8(uint32_t value, char* out) {
  if (value < 0x80) {
    *out++ = static_cast<char>(value);
  } else if (value < 0x800) {
    *out++ = static_cast<char>(0xC0 | value >> 6);
    *out++ = static_cast<char>(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    *out++ = static_cast<char>(0xE0 | value >> 12);
    *out++ = static_cast<char>(0x80 | (value >> 6 & 0x3F));
    *out++ = static_cast<char>(0x80 | (value & 0x3F));
  } else {
    *out++ = static_cast<char>(0xF0 | value >> 18);
    *out++ = static_cast<char>(0x80 | (value >> 12 & 0x3F));
    *out++ = static_cast<char>(0x80 | (value >> 6 & 0x3F));
    *out++ = static_cast<char>(0x80 | (value & 0x3F));
  }
  return out;
}

// How many ill-formed sequences `text` has.
int64_t CountInvalidUtf8(absl::string_view text);

// Puts U+FFFD in the place of each ill-formed sequence; returns how many there were.
int64_t ReplaceInvalidUtf8(std::string* text);

}  // namespace sluice
