#include "telemetry/png_image.h"

#include <zlib.h>

#include "absl/strings/string_view.h"
#include "core/check.h"

namespace sluice {
namespace {

void AppendBigEndian(uint32_t value, std::string& out) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

// Length, kind and content, and a checksum of the last two.
void AppendChunk(absl::string_view kind, const std::string& content, std::string& out) {
  const std::string checked = std::string(kind) + content;
  AppendBigEndian(static_cast<uint32_t>(content.size()), out);
  out += checked;
  AppendBigEndian(static_cast<uint32_t>(
                      crc32_z(0, reinterpret_cast<const Bytef*>(checked.data()), checked.size())),
                  out);
}

std::string Deflate(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string deflated(size, '\0');
  CHECK_EQ(
      compress2(reinterpret_cast<Bytef*>(deflated.data()), &size,
                reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), Z_DEFAULT_COMPRESSION),
      Z_OK);
  deflated.resize(size);
  return deflated;
}

}  // namespace

std::string EncodePng(const Image& image) {
  CHECK(image.width > 0 && image.height > 0);
  const int64_t line = image.width * BytesOf(image.pixel);
  CHECK_EQ(std::ssize(image.pixels), line * image.height);
  std::string header;
  AppendBigEndian(static_cast<uint32_t>(image.width), header);
  AppendBigEndian(static_cast<uint32_t>(image.height), header);
  // Eight bits of grey (0) or of red, green, blue and opacity (6) each; deflate, the five filters,
  // not interlaced.
  for (const int value : {8, image.pixel == PngPixel::kGrey ? 0 : 6, 0, 0, 0})
    header.push_back(static_cast<char>(value));
  std::string lines;
  for (int64_t y = 0; y < image.height; ++y) {
    lines.push_back(0);  // of the five filters: none
    lines.append(reinterpret_cast<const char*>(image.pixels.data()) + y * line,
                 static_cast<size_t>(line));
  }
  std::string png = "\x89PNG\r\n\x1a\n";
  AppendChunk("IHDR", header, png);
  AppendChunk("IDAT", Deflate(lines), png);
  AppendChunk("IEND", "", png);
  return png;
}

}  // namespace sluice
