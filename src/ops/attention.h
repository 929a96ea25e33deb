// Attention of every head of a batch over a packed QKV projection; formulas in
// kernels/api/attention.h.
#pragma once

#include "absl/status/status.h"
#include "ops/attention_variant.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// The sizes of one call.
struct AttentionDims {
  int64_t B, T, H, D;
};

struct AttentionForward {
  AttentionDims dims;
  TensorView qkv;          // (B·T, 3·H·D): q, k and v of a token side by side
  TensorView gate;         // (B·T, H) in the accumulator's dtype; null for vanilla
  TensorView out;          // (B·T, H·D), overwritten
  TensorView log_sum_exp;  // (B, H, T), saved; null when there will be no backward
  GateSite gate_site = GateSite::kNone;
  AttentionMask mask = {};
  Dropout dropout = {};
};
absl::Status Run(ExecutionContext& context, const AttentionForward& call);

struct AttentionBackward {
  AttentionDims dims;
  TensorView qkv, gate, log_sum_exp;  // as in forward
  TensorView dout;                    // (B·T, H·D)
  TensorView dqkv;                    // (B·T, 3·H·D), overwritten
  TensorView dgate;                   // (B·T, H), overwritten; null for vanilla
  GateSite gate_site = GateSite::kNone;
  AttentionMask mask = {};
  Dropout dropout = {};
};
absl::Status Run(ExecutionContext& context, const AttentionBackward& call);

// Planning: scratch for forward, and for backward when `train`.
void PlanAttention(ExecutionContext& context, const AttentionDims& dims, bool train);

}  // namespace sluice::ops
