// Exponential, hyperbolic tangent and the normal distribution on vectors of float. The polynomials
// are Chebyshev fits to the functions named beside them. Stated errors are the largest found over
// dense grids of the whole range, with or without fused multiply-add; the activation's tests hold
// the functions to them. NaN comes through.
//
// A Highway "-inl" header: include it after hwy/foreach_target.h and hwy/highway.h, once a target.
#if defined(SLUICE_KERNELS_CPU_VECTOR_MATH_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_VECTOR_MATH_H_
#undef SLUICE_KERNELS_CPU_VECTOR_MATH_H_
#else
#define SLUICE_KERNELS_CPU_VECTOR_MATH_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// c[0] + x (c[1] + x (c[2] + …)).
template <class DF, int kCount>
HWY_INLINE hn::Vec<DF> Polynomial(DF df, hn::Vec<DF> x, const float (&c)[kCount]) {
  auto value = hn::Set(df, c[kCount - 1]);
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i) value = hn::MulAdd(value, x, hn::Set(df, c[i]));
  return value;
}

// e^x for x <= 0 (up to 88 in fact). Below ln(2^-126) the result is 0. Relative error < 2e-7.
template <class DF>
HWY_INLINE hn::Vec<DF> ExpOfNonPositive(DF df, hn::Vec<DF> x) {
  const hn::RebindToSigned<DF> di;
  // (e^r - 1 - r) / r² on |r| <= ln(2) / 2
  static constexpr float kQuotient[] = {0.500000001346221f, 0.166665770031603f,
                                        0.041666464976159764f, 0.008363175565474494f,
                                        0.0013933643520164377f};
  // Adding 1.5 · 2^23 rounds to an integer n and leaves n in the low bits.
  const auto rounder = hn::Set(df, 12582912.0f);
  const auto biased = hn::MulAdd(x, hn::Set(df, 1.44269504088896341f), rounder);
  const auto n = hn::BitCast(di, biased);
  const auto n_float = hn::Sub(biased, rounder);
  // ln 2 in two parts, the first with so few bits that its product with n is exact.
  auto r = hn::NegMulAdd(n_float, hn::Set(df, 0.693359375f), x);
  r = hn::NegMulAdd(n_float, hn::Set(df, -2.12194440e-4f), r);
  const auto quotient = Polynomial(df, r, kQuotient);
  const auto e_to_r = hn::Add(hn::MulAdd(hn::Mul(r, r), quotient, r), hn::Set(df, 1.0f));
  const auto power = hn::BitCast(df, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(df, -87.33654f)), hn::Mul(e_to_r, power));
}

// tanh x = (1 - e^(-2|x|)) / (1 + e^(-2|x|)) with x's sign; near 0 a polynomial, where that form
// would cancel. Relative error < 4e-7.
template <class DF>
HWY_INLINE hn::Vec<DF> Tanh(DF df, hn::Vec<DF> x) {
  // (tanh(x) / x - 1) / x² in x² on |x| <= 0.625
  static constexpr float kQuotient[] = {-0.33333329099617104f, 0.1333278226399321f,
                                        -0.05385249746832629f, 0.021003641220012307f,
                                        -0.00610494801033783f};
  const auto one = hn::Set(df, 1.0f);
  const auto magnitude = hn::Abs(x);
  const auto e = ExpOfNonPositive(df, hn::Mul(magnitude, hn::Set(df, -2.0f)));
  const auto outer = hn::CopySign(hn::Div(hn::Sub(one, e), hn::Add(one, e)), x);
  const auto square = hn::Mul(x, x);
  const auto inner = hn::MulAdd(hn::Mul(square, x), Polynomial(df, square, kQuotient), x);
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(df, 0.625f)), inner, outer);
}

template <class DF>
struct LogisticPair {
  hn::Vec<DF> value;       // σ(x) = 1 / (1 + e^-x)
  hn::Vec<DF> complement;  // 1 - σ(x) = σ(-x)
};

// Both without overflow, and neither cancels. Relative error < 5e-7.
template <class DF>
HWY_INLINE LogisticPair<DF> Logistic(DF df, hn::Vec<DF> x) {
  const auto one = hn::Set(df, 1.0f);
  const auto e = ExpOfNonPositive(df, hn::Neg(hn::Abs(x)));
  const auto larger = hn::Div(one, hn::Add(one, e));
  const auto smaller = hn::Mul(e, larger);
  const auto negative = hn::Lt(x, hn::Zero(df));
  return {hn::IfThenElse(negative, smaller, larger), hn::IfThenElse(negative, larger, smaller)};
}

template <class DF>
struct NormalDistribution {
  hn::Vec<DF> cumulative;  // Φ(x) = (1 + erf(x / √2)) / 2
  hn::Vec<DF> density;     // φ(x) = e^(-x² / 2) / √(2π)
};

// Φ(-|x|) = e^(-z²) · erfcx(z) / 2 with z = |x| / √2 and erfcx(z) = t · p(t), t = 1 / (1 + 0.3 z):
// one exponential and one division serve Φ and φ, no branch, and the far negative tail keeps its
// relative accuracy, which 1 + erf has lost. Relative error of Φ < 5e-7 on x >= -2, and below
// < 2e-7 + 1.5e-7 · x² / 2 (the rounding of z² in the exponent).
template <class DF>
HWY_INLINE NormalDistribution<DF> Normal(DF df, hn::Vec<DF> x) {
  // erfcx(z) / (2 t) in powers of t - 0.625, on z <= 10
  static constexpr float kQuotient[] = {
      0.204316544123845480f, 0.4021572748134181f,    0.625231775486304f,
      0.758967648159101500f, 0.69050460214927555f,   0.41947980476271f,
      0.097597960973538870f, -0.080957785990492135f, -0.06439471797597171f};
  const auto magnitude = hn::Abs(x);
  const auto half_square = hn::Mul(hn::Mul(x, x), hn::Set(df, -0.5f));
  const auto e = ExpOfNonPositive(df, half_square);
  const auto one = hn::Set(df, 1.0f);
  const auto t = hn::Div(one, hn::MulAdd(magnitude, hn::Set(df, 0.3f * 0.70710678118654752f), one));
  const auto quotient = Polynomial(df, hn::Sub(t, hn::Set(df, 0.625f)), kQuotient);
  const auto tail = hn::Mul(e, hn::Mul(t, quotient));
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(df)), tail, hn::Sub(one, tail)),
          hn::Mul(e, hn::Set(df, 0.39894228040143268f))};
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_VECTOR_MATH_H_
