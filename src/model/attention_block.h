// Self-attention with its projections: QKV, (gate,) attention, output projection.
//
//   qkv = x · W_qkvᵀ + b_qkv                      (N, 3C): query, key and value of a token side by
//   side gate = σ(source · W_gᵀ [+ b_g])               (N, H): source is the V part of qkv, or x
//   attended = attention(qkv, gate)               (N, C)
//   y = attended · W_oᵀ + b_o                     (N, C)
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/model_build.h"
#include "ops/attention.h"
#include "ops/attention_variant.h"
#include "ops/linear.h"

namespace sluice {

struct AttentionBlockConfig {
  int64_t hidden_size, num_attention_heads;
  double attention_probs_dropout_prob;
  ops::AttentionVariant variant;
  InitialValues qkv_weight, qkv_bias, gate_weight, gate_bias, output_weight;
};

// What forward saves for backward, by name.
struct AttentionActivations {
  const TensorView* qkv;          // (N, 3C)
  const TensorView* gate;         // (N, H), accumulator dtype; null when not gated
  const TensorView* log_sum_exp;  // (B, H, T), accumulator dtype
  const TensorView* attended;     // (N, C)
};

// Gradients on their way: scratch that all layers share.
struct AttentionScratch {
  const TensorView* dqkv;       // (N, 3C)
  const TensorView* dgate;      // (N, H), accumulator dtype; null when not gated
  const TensorView* dattended;  // (N, C)
};

class AttentionBlock {
 public:
  // Adds its parameters; `name` is e.g. "bert.encoder.layer.0.attention".
  AttentionBlock(const ModelBuild& build, const std::string& name, int layer,
                 const AttentionBlockConfig& config);
  static AttentionActivations PlanActivations(const ModelBuild& build, const std::string& name,
                                              const AttentionBlockConfig& config);
  static AttentionScratch PlanScratch(const ModelBuild& build, const AttentionBlockConfig& config);

  void Bind(const ParameterStore& parameters);  // after the arena has been allocated
  void WeightsChanged();

  // x (N, C) → y (N, C), overwritten.
  absl::Status Forward(ExecutionContext& context, const ForwardPass& pass, const TensorView& x,
                       const AttentionActivations& saved, const TensorView& y);
  // dy (N, C); dx (N, C) is ADDED to: it holds the residual's gradient.
  absl::Status Backward(ExecutionContext& context, const ForwardPass& pass, const TensorView& x,
                        const AttentionActivations& saved, const AttentionScratch& scratch,
                        const TensorView& dy, const TensorView& dx);

 private:
  ops::AttentionDims Dims(const ForwardPass& pass) const;
  TensorView GateSource(const TensorView& x, const TensorView& qkv) const;

  AttentionBlockConfig config_;
  int layer_;
  int qkv_weight_, qkv_bias_;  // first of the joined q, k, v
  int gate_weight_ = -1, gate_bias_ = -1;
  int output_weight_, output_bias_;
  ops::Linear qkv_, output_;
  TensorView gate_weight_value_, gate_bias_value_, gate_weight_gradient_, gate_bias_gradient_;
};

}  // namespace sluice
