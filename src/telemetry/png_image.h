// Pictures as PNG (ISO/IEC 15948): for TensorBoard and the report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

enum class PngPixel { kGrey /* 0 is black */, kRedGreenBlueOpacity };
constexpr int64_t BytesOf(PngPixel pixel) { return pixel == PngPixel::kGrey ? 1 : 4; }

struct Image {
  int64_t width = 0, height = 0;  // at least 1
  PngPixel pixel = PngPixel::kGrey;
  std::vector<uint8_t> pixels = {};  // (height, width, BytesOf(pixel))
};

std::string EncodePng(const Image& image);

}  // namespace sluice
