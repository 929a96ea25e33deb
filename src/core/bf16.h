// bfloat16 as a storage type: the upper half of a float. Arithmetic is done in float; stores round
// to nearest even.
#pragma once

#include <bit>
#include <cstdint>

namespace sluice {

struct bf16 {
  uint16_t bits;

  bf16() = default;  // uninitialized, like float
  // Rounds to nearest, ties to even; keeps infinities; any NaN becomes a quiet NaN.
  explicit bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((u >> 16) | 0x0040u);
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  // NOLINTNEXTLINE(google-explicit-constructor): widening loses nothing
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};
static_assert(sizeof(bf16) == 2);

// The type in which values of storage type T are summed and statistics are kept.
template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

}  // namespace sluice
