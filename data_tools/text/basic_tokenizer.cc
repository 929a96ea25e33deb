#include "data_tools/text/basic_tokenizer.h"

namespace sluice {
namespace {

size_t EncodedBytes(uint32_t code_point) {
  char buffer[4];
  return EncodeUtf8(code_point, buffer) - buffer;
}

size_t NormalizedBytes(const CodePointMap& map, MappedCodePoint mapped) {
  switch (mapped.kind) {
    case CodePointKind::kHangul: {
      std::array<uint32_t, 3> letters;
      return 3 * DecomposeHangul(mapped.value, &letters);
    }
    case CodePointKind::kSequence: {
      size_t bytes = 0;
      const CodePointMap::Sequence& sequence = map.sequence(mapped.value);
      for (uint32_t i = 0; i < sequence.count; ++i) {
        bytes += NormalizedBytes(map, sequence.items[i]);
      }
      return bytes;
    }
    default:
      return EncodedBytes(mapped.value);
  }
}

// The code point that ends at `end`; sets where it begins.
uint32_t PreviousCodePoint(const char* begin, const char* end, const char** start) {
  const char* p = end - 1;
  while (p > begin && (static_cast<uint8_t>(*p) & 0xC0) == 0x80) --p;
  *start = p;
  return DecodeUtf8(p, end).value;
}

}  // namespace

BasicTokenizer::BasicTokenizer(const NormalizationOptions& options) : map_(options) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    CHECK_LE(NormalizedBytes(map_, map_[c]), kLargestGrowth * EncodedBytes(c))
        << "code point " << c;
  }
  ascii_word_.fill(0);
  for (uint32_t c = 0; c < 128; ++c) {
    if (map_[c].kind == CodePointKind::kWord) ascii_word_[c] = static_cast<char>(map_[c].value);
  }
}

void BasicTokenizer::AddCombining(uint32_t code_point, Word* word) {
  const uint32_t combining_class = CombiningClass(code_point);
  char* position = word->end;
  while (position > word->barrier) {
    const char* start;
    const uint32_t previous = PreviousCodePoint(word->barrier, position, &start);
    if (CombiningClass(previous) <= combining_class) break;
    position = word->begin + (start - word->begin);
  }
  char encoded[4];
  const size_t bytes = EncodeUtf8(code_point, encoded) - encoded;
  std::memmove(position + bytes, position, word->end - position);
  std::memcpy(position, encoded, bytes);
  word->end += bytes;
  ++word->characters;
}

}  // namespace sluice
