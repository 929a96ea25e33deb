// Self-attention with its projections: QKV, (gate,) attention, output projection.
//
//   qkv      = x · W_qkvᵀ [+ b_qkv]          (N, 3C): query, key and value of a token side by side
//   gate     = σ(source · W_gᵀ [+ b_g])      (N, H): source is the V part of qkv, or x
//   attended = attention(qkv, gate)          (N, C)
//   y        = attended · W_oᵀ [+ b_o]       (N, C)
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/architecture.h"
#include "model/model_build.h"
#include "model/projection.h"
#include "ops/attention.h"
#include "ops/attention_variant.h"

namespace sluice {

struct AttentionBlockConfig {
  int64_t hidden_size, num_attention_heads;
  double attention_probs_dropout_prob;
  ops::AttentionVariant variant;
  WeightInitialization projections, output;  // gates start as the projections do
  bool biases;
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
  AttentionBlock(const ModelBuild& build, const LayerNames& names, int layer,
                 const AttentionBlockConfig& config);
  static AttentionActivations PlanActivations(const ModelBuild& build, const std::string& name,
                                              const AttentionBlockConfig& config);
  static AttentionScratch PlanScratch(const ModelBuild& build, const AttentionBlockConfig& config);

  void Bind(const ParameterStore& parameters);  // after the arena has been allocated
  void WeightsChanged();

  // x (N, C) → y (N, C), overwritten.
  absl::Status Forward(ExecutionContext& context, const ForwardPass& pass, const TensorView& x,
                       const AttentionActivations& saved, const TensorView& y);

  struct BackwardCall {
    TensorView x, dy;  // (N, C)
    TensorView dx;     // (N, C)
    bool accumulate;   // dx is added to; false: overwritten
  };
  absl::Status Backward(ExecutionContext& context, const ForwardPass& pass,
                        const AttentionActivations& saved, const AttentionScratch& scratch,
                        const BackwardCall& call);

 private:
  void AddGate(const ModelBuild& build, const LayerNames& names);
  void AddQueryKeyValue(const ModelBuild& build, const LayerNames& names);
  ops::AttentionDims Dims(const ForwardPass& pass) const;
  bool gated_by_input() const {
    return config_.variant.gated() && config_.variant.gate_source == ops::GateSource::kInput;
  }
  TensorView GateSource(const TensorView& x, const TensorView& qkv) const;
  absl::Status GateBackward(ExecutionContext& context, const AttentionActivations& saved,
                            const AttentionScratch& scratch, const BackwardCall& call);

  AttentionBlockConfig config_;
  int layer_;
  int qkv_weight_ = -1, qkv_bias_ = -1;  // first of the joined q, k, v
  int gate_weight_ = -1, gate_bias_ = -1;
  Projection output_;
  ops::Linear qkv_;
  TensorView gate_weight_value_, gate_bias_value_, gate_weight_gradient_, gate_bias_gradient_;
};

}  // namespace sluice
