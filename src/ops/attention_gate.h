// The gates of gated attention from value rows or from the module's input; formula in
// kernels/api/attention_gate.h.
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct AttentionGateForward {
  TensorView source;        // (N, C), may be a column range of a packed QKV
  TensorView weight, bias;  // (H, C); (H) or null
  TensorView gate;          // (N, H), accumulator dtype, overwritten
};
absl::Status Run(ExecutionContext& context, const AttentionGateForward& call);

struct AttentionGateBackward {
  TensorView source, weight;  // as in forward
  TensorView gate, dgate;     // (N, H)
  TensorView dsource;         // (N, C), ADDED to
  TensorView dweight, dbias;  // (H, C); (H) or null; ADDED to
};
absl::Status Run(ExecutionContext& context, const AttentionGateBackward& call);

// Planning: scratch for a backward of this size.
void PlanAttentionGate(ExecutionContext& context, int64_t N, int64_t C, int64_t H);

}  // namespace sluice::ops
