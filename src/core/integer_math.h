// Small exact integer arithmetic for sizes and offsets.
#pragma once

#include <cstdint>
#include <limits>

namespace sluice {

// Smallest q with q * divisor >= value. value >= 0, divisor > 0.
constexpr int64_t CeilDiv(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

// Smallest multiple of `multiple` that is >= value.
constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return CeilDiv(value, multiple) * multiple;
}

// a + b, or the largest int64_t when that is not one. Both >= 0.
constexpr int64_t SaturatingAdd(int64_t a, int64_t b) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  return a > kLargest - b ? kLargest : a + b;
}

}  // namespace sluice
