// The binary entropy of a gate g in nats, h(g) = -g ln g - (1-g) ln(1-g), as one sequence of
// operations on doubles, each rounded to nearest: every device gives the same bits, as long as no
// product is fused with a sum. Within 2^-48 of the exact value.
//
//   ln x: x = m · 2^e with m in [√½, √2), s = (m-1)/(m+1), ln m = 2s Σ_k s^2k / (2k+1)
#pragma once

#include <bit>
#include <cstdint>

namespace sluice {

// For compilers that fuse nothing unasked; others have their own.
struct PlainArithmetic {
  static constexpr double Sum(double a, double b) { return a + b; }
  static constexpr double Product(double a, double b) { return a * b; }
  static constexpr double Quotient(double a, double b) { return a / b; }
};

// x in [2^-200, 1].
template <typename Arithmetic>
constexpr double NaturalLogarithm(double x) {
  using A = Arithmetic;
  constexpr uint64_t kRootOfHalf = 0x3FE6A09E667F3BCD, kBias = 1024;
  const auto bits = std::bit_cast<uint64_t>(x);
  const uint64_t biased = (bits + (kBias << 52) - kRootOfHalf) >> 52;  // e + kBias
  const auto m = std::bit_cast<double>(bits - (biased << 52) + (kBias << 52));
  // A small whole number in the low bits of 2^52.
  constexpr double k2To52 = 0x1p52;
  const double e = A::Sum(std::bit_cast<double>(std::bit_cast<uint64_t>(k2To52) + biased),
                          -(k2To52 + static_cast<double>(kBias)));
  const double s = A::Quotient(A::Sum(m, -1), A::Sum(m, 1));
  const double square = A::Product(s, s);
  // |s| < 0.172: what is left out is below 2^-60 of the sum.
  double sum = 1.0 / 21;
  for (int divisor = 19; divisor >= 1; divisor -= 2) {
    sum = A::Sum(A::Product(sum, square), 1.0 / divisor);
  }
  constexpr double kLogarithmOf2 = 0.69314718055994530942;
  return A::Sum(A::Product(e, kLogarithmOf2), A::Product(A::Sum(s, s), sum));
}

// g in [0, 1], the value of a float.
template <typename Arithmetic>
constexpr double GateEntropy(double g) {
  using A = Arithmetic;
  constexpr double kTiny = 0x1p-200;  // 0 ln 0 is 0
  const double rest = A::Sum(1, -g);
  const double open = A::Product(g, NaturalLogarithm<A>(g > kTiny ? g : kTiny));
  const double shut = A::Product(rest, NaturalLogarithm<A>(rest > kTiny ? rest : kTiny));
  return -A::Sum(open, shut);
}

}  // namespace sluice
