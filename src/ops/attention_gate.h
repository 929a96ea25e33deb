// The gates of gated attention from value rows or from the module's input; formulas in
// kernels/api/attention_gate.h.
#pragma once

#include "absl/status/status.h"
#include "kernels/api/attention_gate.h"
#include "ops/block_linear.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// One gate a head.
struct AttentionGateForward {
  TensorView source;            // (N, C), may be a column range of a packed QKV
  TensorView weight, bias;      // (H, C), or (H, C / H) with per_head_slice; (H) or null
  TensorView gate;              // (N, H), accumulator dtype, overwritten
  bool per_head_slice = false;  // the gate of head h reads its own C / H features only
  GateCurve<double> curve = {};
};
absl::Status Run(ExecutionContext& context, const AttentionGateForward& call);

struct AttentionGateBackward {
  TensorView source, weight;  // as in forward
  TensorView gate, dgate;     // (N, H)
  TensorView dsource;         // (N, C), ADDED to
  TensorView dweight, dbias;  // as weight; (H) or null; ADDED to
  bool per_head_slice = false;
  GateCurve<double> curve = {};
};
absl::Status Run(ExecutionContext& context, const AttentionGateBackward& call);

// One gate a head that no source makes: a learned logit, the same for every token.
struct FreeGateForward {
  TensorView logit;  // (H)
  TensorView gate;   // (N, H), accumulator dtype, overwritten
  GateCurve<double> curve = {};
};
absl::Status Run(ExecutionContext& context, const FreeGateForward& call);

struct FreeGateBackward {
  TensorView logit;        // as in forward
  TensorView gate, dgate;  // (N, H)
  TensorView dlogit;       // (H), accumulator dtype, ADDED to
  GateCurve<double> curve = {};
};
absl::Status Run(ExecutionContext& context, const FreeGateBackward& call);

// Planning: scratch for a backward of this size; C = 0 without a source.
void PlanAttentionGate(ExecutionContext& context, int64_t N, int64_t C, int64_t H);

// One gate a channel, with its projection, of the logits source · weightᵀ + bias. weight (C, C);
// with per_head_slice (C, D): row c reads the D features of its own head, a block-diagonal product,
// one block a head. Made when the model is built, as Linear is.
class ChannelGate {
 public:
  struct Dims {
    int64_t rows;  // that a call usually has; also the most
    int64_t H, D;
    bool per_head_slice;
    GateCurve<double> curve = {};
  };
  // `train`: backward will be called.
  void Plan(ExecutionContext& context, Arena& arena, absl::string_view name, DType dtype,
            const Dims& dims, bool train);
  // After the arena has been allocated. bias (C) may be null.
  void Bind(const Linear::Parameters& parameters);
  // After every change of the weight's values.
  void WeightsChanged();

  // source (N, C), may be a column range of a packed QKV → gate (N, C), accumulator dtype,
  // overwritten.
  absl::Status Forward(ExecutionContext& context, const TensorView& source, const TensorView& gate);
  struct Gradients {
    TensorView source;       // (N, C), as in forward
    TensorView gate, dgate;  // (N, C), accumulator dtype
    TensorView dsource;      // (N, C), ADDED to
  };
  // Also adds to the gradients of weight and bias.
  absl::Status Backward(ExecutionContext& context, const Gradients& call);

 private:
  Dims dims_ = {};
  int64_t logits_offset_ = 0;  // bytes, in the workspace
  BlockLinear projection_;     // one block, or one a head with per_head_slice
};

}  // namespace sluice::ops
