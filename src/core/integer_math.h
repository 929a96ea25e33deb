// Small exact integer arithmetic for sizes and offsets.
#pragma once

#include <cstdint>

namespace sluice {

// Smallest q with q * divisor >= value. value >= 0, divisor > 0.
constexpr int64_t CeilDiv(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

// Smallest multiple of `multiple` that is >= value.
constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return CeilDiv(value, multiple) * multiple;
}

}  // namespace sluice
