#include "telemetry/png_image.h"

#include <zlib.h>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

uint32_t BigEndian(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

struct Chunk {
  std::string kind, content;
};

// By the format's definition; fails where a checksum does not hold.
std::vector<Chunk> Chunks(absl::string_view png) {
  std::vector<Chunk> chunks;
  EXPECT_EQ(png.substr(0, 8), absl::string_view("\x89PNG\r\n\x1a\n", 8));
  for (size_t at = 8; at < png.size();) {
    const uint32_t length = BigEndian(png.substr(at));
    const absl::string_view checked = png.substr(at + 4, 4 + length);
    EXPECT_EQ(BigEndian(png.substr(at + 8 + length)),
              crc32(0, reinterpret_cast<const Bytef*>(checked.data()),
                    static_cast<uInt>(checked.size())));
    chunks.push_back({std::string(checked.substr(0, 4)), std::string(checked.substr(4))});
    at += 12 + length;
  }
  return chunks;
}

TEST(PngImageTest, HoldsThePixels) {
  Image image = {.width = 300, .height = 7};
  for (int64_t i = 0; i < image.width * image.height; ++i) {
    image.pixels.push_back(static_cast<uint8_t>(i * i / 7));
  }
  const std::vector<Chunk> chunks = Chunks(EncodePng(image));
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].kind, "IHDR");
  ASSERT_EQ(chunks[0].content.size(), 13u);
  EXPECT_EQ(BigEndian(chunks[0].content), 300u);
  EXPECT_EQ(BigEndian(absl::string_view(chunks[0].content).substr(4)), 7u);
  EXPECT_EQ(chunks[0].content.substr(8), std::string("\x08\0\0\0\0", 5));
  EXPECT_EQ(chunks[1].kind, "IDAT");
  EXPECT_EQ(chunks[2].kind, "IEND");
  EXPECT_TRUE(chunks[2].content.empty());
  std::vector<uint8_t> lines((300 + 1) * 7);
  uLongf size = lines.size();
  ASSERT_EQ(
      uncompress(lines.data(), &size, reinterpret_cast<const Bytef*>(chunks[1].content.data()),
                 chunks[1].content.size()),
      Z_OK);
  ASSERT_EQ(size, lines.size());
  for (int64_t y = 0; y < 7; ++y) {
    EXPECT_EQ(lines[y * 301], 0);  // no filter
    for (int64_t x = 0; x < 300; ++x) {
      ASSERT_EQ(lines[y * 301 + 1 + x], image.pixels[y * 300 + x]);
    }
  }
}

}  // namespace
}  // namespace sluice
