// LayerNorm with the residual sum and the dropout that stand before it; formulas in
// kernels/api/layer_norm.h.
#pragma once

#include "absl/status/status.h"
#include "kernels/api/dropout.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct LayerNormForward {
  TensorView x;             // (N, C)
  TensorView residual;      // (N, C) or null
  TensorView weight, bias;  // (C)
  TensorView sum;           // (N, C), saved; null only without residual and dropout
  TensorView y;             // (N, C), overwritten
  TensorView mean, rstd;    // (N), saved; null when there will be no backward
  float eps;
  Dropout dropout = {};
};
absl::Status Run(ExecutionContext& context, const LayerNormForward& call);

struct LayerNormBackward {
  TensorView dy;          // (N, C)
  TensorView dsum_in;     // (N, C) or null: gradient of the sum from elsewhere
  TensorView sum;         // (N, C), saved
  TensorView weight;      // (C)
  TensorView mean, rstd;  // (N), saved
  TensorView dsum;        // (N, C), overwritten: gradient of residual (and of x without dropout)
  TensorView dx;          // (N, C), overwritten; null without dropout
  TensorView dweight, dbias;  // (C), ADDED to
  Dropout dropout = {};
};
absl::Status Run(ExecutionContext& context, const LayerNormBackward& call);

// Planning: scratch for a backward of this size.
void PlanLayerNorm(ExecutionContext& context, int64_t N, int64_t C);

}  // namespace sluice::ops
