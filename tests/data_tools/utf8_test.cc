// Decoding against a table of the standard's cases, and encoding against decoding for all of
// Unicode.
#include "data_tools/text/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(Utf8Test, EncodesWhatItDecodes) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    char bytes[5] = {0, 0, 0, 0, 'x'};
    const char* end = EncodeUtf8(c, bytes);
    const DecodedCodePoint decoded = DecodeUtf8(bytes, bytes + 5);
    ASSERT_TRUE(decoded.valid) << c;
    ASSERT_EQ(decoded.value, c);
    ASSERT_EQ(bytes + decoded.bytes, end);
    // One byte less is ill-formed, and is one sequence.
    if (decoded.bytes == 1) continue;
    const DecodedCodePoint cut = DecodeUtf8(bytes, end - 1);
    ASSERT_FALSE(cut.valid) << c;
    ASSERT_EQ(cut.value, kReplacementCharacter);
    ASSERT_EQ(cut.bytes, decoded.bytes - 1);
  }
}

TEST(Utf8Test, CountsMaximalSubparts) {
  struct Case {
    std::string bytes;
    std::string repaired;
    int64_t count;
  };
  const std::string mark = "\uFFFD";
  // As Python's bytes.decode("utf-8", "replace").
  const Case cases[] = {
      {"", "", 0},
      {"plain text, longer than a word\xC3\xA9", "plain text, longer than a word\xC3\xA9", 0},
      {"\x80", mark, 1},
      {"\xC0\xAF", mark + mark, 2},
      {"\xC1\x81", mark + mark, 2},
      {"\xE0\x80\xAF", mark + mark + mark, 3},
      {"\xE0\xA0", mark, 1},
      {"\xED\x9F\xBF", "\xED\x9F\xBF", 0},
      {"\xED\xA0\x80", mark + mark + mark, 3},
      {"\xF0\x8F\xBF\xBF", mark + mark + mark + mark, 4},
      {"\xF0\x90\x80", mark, 1},
      {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF", 0},
      {"\xF4\x90\x80\x80", mark + mark + mark + mark, 4},
      {"\xF5\xFF", mark + mark, 2},
      {"a\xF1\x80\x80\xE1\x80\xC2z", "a" + mark + mark + mark + "z", 3},
      {"12345678\xFF"
       "12345678",
       "12345678" + mark + "12345678", 1},
  };
  for (const Case& item : cases) {
    EXPECT_EQ(CountInvalidUtf8(item.bytes), item.count) << item.repaired;
    std::string text = item.bytes;
    EXPECT_EQ(ReplaceInvalidUtf8(&text), item.count);
    EXPECT_EQ(text, item.repaired);
    EXPECT_EQ(CountInvalidUtf8(text), 0);
  }
}

}  // namespace
}  // namespace sluice
