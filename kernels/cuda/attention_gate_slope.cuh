// The slope of a gate in its logit (kernels/api/attention_gate.h), from the gate alone.
#pragma once

#include "kernels/api/attention_gate.h"

namespace sluice::cuda {

__device__ __forceinline__ float GateSlope(float gate, const GateCurve<float>& curve) {
  return curve.steepness * gate * (1 - gate * (1 / curve.scale));
}

}  // namespace sluice::cuda
