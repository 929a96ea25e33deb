// The binary entropy of g in nats, h(g) = -g ln g - (1-g) ln(1-g), as one sequence of
// operations on doubles, each rounded to nearest. Every product that is added to something is
// written as a fused operation, so that no compiler has a choice: every device gives the same bits.
// Within 2^-48 of the exact value.
//
//   ln x: x = m · 2^e with m in [√½, √2), s = (m-1)/(m+1), ln m = 2s Σ_k s^2k / (2k+1)
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace sluice {

// Newton's method, so that no device calls a function for a division. d in [1.7, 2.42]: the first
// guess is within 1.6 %, and each round squares that.
template <typename Number>
constexpr Number Reciprocal(Number d) {
  Number guess = std::fma(Number{-0.24264}, d, Number{0.9926});
  for (int round = 0; round < 4; ++round) guess = std::fma(guess, std::fma(-d, guess, 1), guess);
  return guess;
}

// x in [2^-200, 1]. Number is double; a template, because std::fma is no constant expression yet.
template <typename Number>
constexpr Number NaturalLogarithm(Number x) {
  constexpr uint64_t kRootOfHalf = 0x3FE6A09E667F3BCD, kBias = 1024;
  const auto bits = std::bit_cast<uint64_t>(x);
  const uint64_t biased = (bits + (kBias << 52) - kRootOfHalf) >> 52;  // e + kBias
  const auto m = std::bit_cast<Number>(bits - (biased << 52) + (kBias << 52));
  // A small whole number in the low bits of 2^52.
  constexpr Number k2To52 = 0x1p52;
  const Number e = std::bit_cast<Number>(std::bit_cast<uint64_t>(k2To52) + biased) -
                   (k2To52 + static_cast<Number>(kBias));
  const Number s = (m - 1) * Reciprocal(m + 1);
  const Number square = s * s;
  // |s| < 0.172: what is left out is below 2^-60 of the sum.
  Number sum = 1.0 / 21;
  for (int divisor = 19; divisor >= 1; divisor -= 2) sum = std::fma(sum, square, 1.0 / divisor);
  constexpr Number kLogarithmOf2 = 0.69314718055994530942;
  return std::fma(e, kLogarithmOf2, (s + s) * sum);
}

// g in [0, 1], the value of a float.
template <typename Number>
constexpr Number BinaryEntropy(Number g) {
  constexpr Number kTiny = 0x1p-200;  // 0 ln 0 is 0
  const Number rest = 1 - g;
  const Number shut = rest * NaturalLogarithm(rest > kTiny ? rest : kTiny);
  return -std::fma(g, NaturalLogarithm(g > kTiny ? g : kTiny), shut);
}

}  // namespace sluice
