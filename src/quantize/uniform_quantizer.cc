#include "quantize/uniform_quantizer.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace sluice {
namespace {

constexpr float kSmallest = 1e-8f;

void CheckBits(int bits) {
  CHECK_GE(bits, kFewestBits);
  CHECK_LE(bits, kMostBits);
}

}  // namespace

UniformQuantizer UniformQuantizer::Asymmetric(const ValueRange& range, int bits) {
  CheckBits(bits);
  const float low = std::min(range.low, 0.0f), high = std::max(range.high, kSmallest);
  const float largest_code = static_cast<float>((1 << bits) - 1);
  const float step = (high - low) / largest_code;
  UniformQuantizer quantizer;
  quantizer.scale_ = std::max(step, kSmallest);
  // Of a range that is not finite, 0: whatever such a model's values are, codes are numbers.
  const float rounded = std::nearbyint(-low / step);
  const float zero = std::isnan(rounded) ? 0.0f : std::clamp(rounded, 0.0f, largest_code);
  quantizer.zero_point_ = static_cast<int>(zero);
  quantizer.lowest_ = -zero;
  quantizer.highest_ = largest_code - zero;
  return quantizer;
}

UniformQuantizer UniformQuantizer::Symmetric(const ValueRange& range, int bits) {
  CheckBits(bits);
  const float low = std::min(range.low, 0.0f), high = std::max(range.high, kSmallest);
  const bool is_signed = low < 0;
  const int positive_bits = is_signed ? bits - 1 : bits;
  UniformQuantizer quantizer;
  quantizer.highest_ = static_cast<float>((1 << positive_bits) - 1);
  quantizer.lowest_ = is_signed ? -quantizer.highest_ - 1 : 0;
  quantizer.scale_ = std::max(std::max(-low, high) / quantizer.highest_, kSmallest);
  return quantizer;
}

}  // namespace sluice
