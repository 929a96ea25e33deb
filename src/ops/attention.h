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
  TensorView gate;         // (B·T, H), or (B·T, H·D) with gate_per_channel, in the accumulator's
                           // dtype; null when gate_site is kNone
  TensorView out;          // (B·T, H·D), overwritten
  TensorView log_sum_exp;  // (B, H, T), saved; null when there will be no backward
  GateSite gate_site = GateSite::kNone;
  bool gate_per_channel = false;
  AttentionWeights weights = AttentionWeights::kSoftmax;
  ClippedSoftmax clip = {};
  SoftmaxSink sink = SoftmaxSink::kNone;
  TensorView sink_logit = {};                 // (H); null unless sink is kLogit
  TensorView sink_key = {}, sink_value = {};  // (H, D); null: no sink token
  AttentionMask mask = {};
  Dropout dropout = {};
  // (B·T, H·D), overwritten and saved: what a gate at the query site multiplies; without such a
  // gate it is `out`. Read where cuDNN runs attention (context.cudnn()), else may be null.
  TensorView ungated = {};
};
absl::Status Run(ExecutionContext& context, const AttentionForward& call);

struct AttentionBackward {
  AttentionDims dims;
  TensorView qkv, gate;         // as in forward
  TensorView out, log_sum_exp;  // as forward left them
  TensorView dout;              // (B·T, H·D)
  TensorView dqkv;              // (B·T, 3·H·D), overwritten
  TensorView dgate;             // as gate, overwritten; null when gate_site is kNone
  GateSite gate_site = GateSite::kNone;
  bool gate_per_channel = false;
  AttentionWeights weights = AttentionWeights::kSoftmax;
  ClippedSoftmax clip = {};
  SoftmaxSink sink = SoftmaxSink::kNone;
  TensorView sink_logit = {}, sink_key = {}, sink_value = {};  // as in forward
  // Accumulator dtype, ADDED to; each null where its parameter is.
  TensorView dsink_logit = {};                  // (H)
  TensorView dsink_key = {}, dsink_value = {};  // (H, D)
  AttentionMask mask = {};
  Dropout dropout = {};
  TensorView ungated = {};  // as forward saved it
};
absl::Status Run(ExecutionContext& context, const AttentionBackward& call);

// Planning, of our kernels: scratch for forward, and for backward when `train`. Of the variant,
// only the sink matters.
void PlanAttention(ExecutionContext& context, const AttentionDims& dims, bool train,
                   const AttentionVariant& variant = {});

}  // namespace sluice::ops
