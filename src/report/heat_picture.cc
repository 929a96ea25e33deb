#include "report/heat_picture.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace sluice {
namespace {

constexpr uint8_t kHeat[] = {0xd9, 0x48, 0x0f};  // legible on white and on near-black
constexpr uint8_t kAbsent[] = {0x80, 0x80, 0x80, 0x60};

void AppendBigEndian(uint32_t value, std::string& bytes) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
}

void AppendChunk(const std::string& kind, const std::string& data, std::string& png) {
  AppendBigEndian(static_cast<uint32_t>(data.size()), png);
  const std::string checked = kind + data;
  png += checked;
  AppendBigEndian(static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(checked.data()),
                                              static_cast<uInt>(checked.size()))),
                  png);
}

std::string Deflated(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string deflated(size, '\0');
  const int code = compress2(reinterpret_cast<Bytef*>(deflated.data()), &size,
                             reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), 9);
  CHECK_EQ(code, Z_OK);  // the buffer is as large as it can get
  deflated.resize(size);
  return deflated;
}

void AppendPixel(double value, HeatScale scale, std::string& line) {
  if (std::isnan(value)) {
    line.append(reinterpret_cast<const char*>(kAbsent), sizeof(kAbsent));
    return;
  }
  const double clamped = std::clamp(value, 0., 1.);
  const double opacity = scale == HeatScale::kLinear ? clamped : std::sqrt(clamped);
  line.append(reinterpret_cast<const char*>(kHeat), sizeof(kHeat));
  line += static_cast<char>(std::lround(255 * opacity));
}

}  // namespace

std::string HeatPicture(const std::vector<std::vector<double>>& rows, HeatScale scale) {
  CHECK(!rows.empty() && !rows[0].empty());
  std::string lines;
  for (const std::vector<double>& row : rows) {
    CHECK_EQ(row.size(), rows[0].size());
    lines += '\0';  // no filter
    for (const double value : row) AppendPixel(value, scale, lines);
  }
  std::string header;
  AppendBigEndian(static_cast<uint32_t>(rows[0].size()), header);
  AppendBigEndian(static_cast<uint32_t>(rows.size()), header);
  // Eight bits each of red, green, blue, opacity; deflate, the five filters, not interlaced.
  header.append("\x08\x06\x00\x00\x00", 5);
  std::string png = "\x89PNG\r\n\x1a\n";
  AppendChunk("IHDR", header, png);
  AppendChunk("IDAT", Deflated(lines), png);
  AppendChunk("IEND", "", png);
  std::string text;
  absl::Base64Escape(png, &text);
  return absl::StrCat("data:image/png;base64,", text);
}

}  // namespace sluice
