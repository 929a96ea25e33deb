#include "report/heat_picture.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "telemetry/png_image.h"

namespace sluice {
namespace {

constexpr uint8_t kHeat[] = {0xd9, 0x48, 0x0f};  // legible on white and on near-black
constexpr uint8_t kAbsent[] = {0x80, 0x80, 0x80, 0x60};

void AppendPixel(double value, HeatScale scale, std::vector<uint8_t>& pixels) {
  if (std::isnan(value)) {
    pixels.insert(pixels.end(), std::begin(kAbsent), std::end(kAbsent));
    return;
  }
  const double clamped = std::clamp(value, 0., 1.);
  const double opacity = scale == HeatScale::kLinear ? clamped : std::sqrt(clamped);
  pixels.insert(pixels.end(), std::begin(kHeat), std::end(kHeat));
  pixels.push_back(static_cast<uint8_t>(std::lround(255 * opacity)));
}

}  // namespace

std::string HeatPicture(const std::vector<std::vector<double>>& rows, HeatScale scale) {
  CHECK(!rows.empty() && !rows[0].empty());
  Image image = {.width = std::ssize(rows[0]),
                 .height = std::ssize(rows),
                 .pixel = PngPixel::kRedGreenBlueOpacity,
                 .pixels = {}};
  for (const std::vector<double>& row : rows) {
    CHECK_EQ(row.size(), rows[0].size());
    for (const double value : row) AppendPixel(value, scale, image.pixels);
  }
  std::string text;
  absl::Base64Escape(EncodePng(image), &text);
  return absl::StrCat("data:image/png;base64,", text);
}

}  // namespace sluice
