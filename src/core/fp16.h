// IEEE 754 half precision (binary16) as a storage type: 5 bits of exponent, 10 of fraction, largest
// finite value 65504. Arithmetic is done in float; stores round to nearest even and become
// infinity from 65520 on, as a GPU's conversion does.
#pragma once

#include <bit>
#include <cstdint>

#include "core/bf16.h"

namespace sluice {

struct fp16 {
  uint16_t bits;

  fp16() = default;  // uninitialized, like float
  // Rounds to nearest, ties to even; subnormal results are kept; any NaN becomes a quiet NaN.
  explicit fp16(float value) : bits(Round(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): widening loses nothing
  operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) {  // infinity, NaN
      return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    }
    // Exponent and fraction moved to a float's places are the value times 2^-112, subnormal or not.
    const float scaled = std::bit_cast<float>(magnitude << 13);
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled * 0x1p112f));
  }

 private:
  static uint16_t Round(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t sign = u >> 16 & 0x8000u;
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and more
    if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, units of 2^-24
      // Adding 0.5 leaves, at the end of the sum's fraction, |value| rounded to units of 2^-24.
      const float sum = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return static_cast<uint16_t>(sign | (rounded - 0x38000000u) >> 13);
  }
};
static_assert(sizeof(fp16) == 2);

}  // namespace sluice
