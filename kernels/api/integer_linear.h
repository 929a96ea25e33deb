// A linear layer in 8-bit integers: what a quantizer made of x times what one made of the weight.
//
//   q[n][k] = clamp(round(x[n][k] / x_scale) + x_zero_point, 0, 255)      half to even
//   y[n][m] = scales[m] · Σ_k (q[n][k] - x_zero_point) · weight[m][k]  + bias[m]
//
// The sum is exact, in 32 bits; it is rounded to fp32, multiplied and the bias added: three
// roundings. So y is that of fp32 layers that multiply x_scale · (q - x_zero_point) by the weight's
// values, but for rounding.
//
// The CPU's product is oneDNN's, 8-bit unsigned times 8-bit signed. Processors without VNNI or AMX
// multiply pairs of codes into 16 bits that saturate (255 · 127 · 2 does not fit; oneDNN 2.6
// documents it and does not prevent it). There q is taken in two halves that do fit, q / 2 and the
// rest, at twice the work: IntegerWeightCopies.
//
//   const int64_t copies = cpu::IntegerWeightCopies();
//   … the weight (M, K) written as (M, copies · K), each row `copies` times side by side …
//   RETURN_IF_ERROR(cpu::IntegerLinear(cache, {.x = x, …}));
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/linear.h"

namespace sluice {

// T: float; double for the reference.
template <typename T>
struct IntegerLinearArgs {
  const T* x;             // (N, K), rows x_stride apart; finite
  T x_scale;              // > 0
  int32_t x_zero_point;   // 0 … 255
  const int8_t* weight;   // (M, copies · K)
  const int32_t* offset;  // (M): x_zero_point · Σ_k weight[m][k], of one copy
  const T* scales;        // (M): x_scale · scale of weight row m
  const T* bias;          // (M) or null
  T* y;                   // (N, M), rows y_stride apart, overwritten
  int64_t N, K, M;        // K <= kIntegerLinearMaxInner
  int64_t x_stride, y_stride;
};

// Beyond it 255 · 128 · K does not fit in 32 bits.
inline constexpr int64_t kIntegerLinearMaxInner = 65536;

namespace reference {
// copies: 1; sums in 64 bits.
void IntegerLinear(const IntegerLinearArgs<double>& args);
}  // namespace reference

namespace cpu {

// How often each row of the weight is to be repeated: 1, or 2 where products saturate.
int64_t IntegerWeightCopies();

// The same bits for any number of threads. Called from one thread, outside of parallel regions.
// Errors: kDevice, when oneDNN or memory fails.
absl::Status IntegerLinear(LinearCache& cache, const IntegerLinearArgs<float>& args);

}  // namespace cpu
}  // namespace sluice
