// Grey pictures as PNG (ISO/IEC 15948), for TensorBoard.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

struct GreyImage {
  int64_t width = 0, height = 0;  // at least 1
  std::vector<uint8_t> pixels;    // (height, width), 0 is black
};

std::string EncodePng(const GreyImage& image);

}  // namespace sluice
