// The activations and their slopes in float, with the relative error of their far tails kept: for
// the kernels that stand alone and for those that fuse them.
#pragma once

#include "kernels/api/activation.h"

namespace sluice::cuda {

// σ(a) without overflow on either side.
__device__ __forceinline__ float Logistic(float a) { return 1.0f / (1.0f + expf(-a)); }

constexpr float kTwiceRootTwoOverPi = 1.5957691216057308f;
constexpr float kGeluCubic = 0.044715f;

// (1 + tanh u) / 2 = σ(2u), which does not cancel for negative u.
__device__ __forceinline__ float GeluTanhShare(float x) {
  return Logistic(kTwiceRootTwoOverPi * (x + kGeluCubic * x * x * x));
}

__device__ __forceinline__ float ActivationValue(Activation activation, float x) {
  switch (activation) {
    case Activation::kGeluErf:
      return x * normcdff(x);
    case Activation::kGeluTanh:
      return x * GeluTanhShare(x);
    case Activation::kRelu:
      return x <= 0 ? 0 : x;  // NaN comes through
    default:
      return tanhf(x);
  }
}

__device__ __forceinline__ float GeluTanhSlope(float x) {
  // Beyond |x| = 16 the slope is 0 or 1, and its parts would be infinity times 0.
  const float bounded = fminf(fmaxf(x, -16.0f), 16.0f);
  const float share = GeluTanhShare(bounded);
  const float opposite = GeluTanhShare(-bounded);  // 1 - share, without cancellation
  const float inner_slope = kTwiceRootTwoOverPi * (1 + 3 * kGeluCubic * bounded * bounded);
  const float slope = share + bounded * share * opposite * inner_slope;
  return x != x ? x : slope;
}

__device__ __forceinline__ float ActivationSlope(Activation activation, float x) {
  constexpr float kRootOfInverseTwoPi = 0.3989422804014327f;
  switch (activation) {
    case Activation::kGeluErf:
      return normcdff(x) + x * kRootOfInverseTwoPi * expf(-0.5f * x * x);
    case Activation::kGeluTanh:
      return GeluTanhSlope(x);
    case Activation::kRelu:
      return x > 0 ? 1 : 0;
    default: {
      // 1 - tanh² x = 4 e / (1 + e)² with e = e^(-2|x|): no cancellation where tanh is near 1.
      const float e = expf(-2 * fabsf(x));
      return 4 * e / ((1 + e) * (1 + e));
    }
  }
}

}  // namespace sluice::cuda
