#include "data_tools/text/utf8.h"

#include <cstring>

namespace sluice {
namespace {

// Skips ASCII, eight bytes at a time.
const char* SkipAscii(const char* p, const char* end) {
  while (end - p >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    if (word & 0x8080808080808080u) break;
    p += 8;
  }
  while (p < end && static_cast<uint8_t>(*p) < 0x80) ++p;
  return p;
}

}  // namespace

int64_t CountInvalidUtf8(absl::string_view text) {
  int64_t count = 0;
  const char* end = text.data() + text.size();
  for (const char* p = SkipAscii(text.data(), end); p < end; p = SkipAscii(p, end)) {
    const DecodedCodePoint decoded = DecodeUtf8(p, end);
    count += !decoded.valid;
    p += decoded.bytes;
  }
  return count;
}

int64_t ReplaceInvalidUtf8(std::string* text) {
  const int64_t count = CountInvalidUtf8(*text);
  if (count == 0) return 0;
  std::string repaired;
  repaired.reserve(text->size() + 2 * count);
  const char* end = text->data() + text->size();
  for (const char* p = text->data(); p < end;) {
    const DecodedCodePoint decoded = DecodeUtf8(p, end);
    if (decoded.valid) {
      repaired.append(p, decoded.bytes);
    } else {
      repaired.append("\xEF\xBF\xBD");
    }
    p += decoded.bytes;
  }
  text->swap(repaired);
  return count;
}

}  // namespace sluice
