// Self-attention with its projections: QKV, (gate,) attention, output projection.
//
//   qkv      = x · W_qkvᵀ [+ b_qkv]          (N, 3C): query, key and value of a token side by side
//   gate     = gate_layer.h of source        (N, G): source is the V part of qkv, or x; G = H or C
//   attended = attention(qkv, gate, sinks)   (N, C)
//   y        = attended · W_oᵀ [+ b_o]       (N, C)
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/architecture.h"
#include "model/gate_layer.h"
#include "model/model_build.h"
#include "model/projection.h"
#include "ops/attention.h"
#include "ops/attention_variant.h"

namespace sluice {

struct AttentionBlockConfig {
  int64_t hidden_size, num_attention_heads;
  double attention_probs_dropout_prob;
  ops::AttentionVariant variant;
  WeightInitialization projections, output;  // gates and sink tokens start as the projections do
  double gate_initial_probability, gate_initializer_range;  // gate_layer.h
  bool biases;
};

// What forward saves for backward, by name.
struct AttentionActivations {
  const TensorView* qkv;          // (N, 3C)
  const TensorView* gate;         // (N, G), accumulator dtype; null when not gated
  const TensorView* gate_hidden;  // (N, H · K): a perceptron's units; else null
  const TensorView* log_sum_exp;  // (B, H, T), accumulator dtype
  const TensorView* attended;     // (N, C)
  const TensorView* ungated;      // (N, C): before a query gate; with cuDNN, else null
};

// Gradients on their way: scratch that all layers share.
struct AttentionScratch {
  const TensorView* dqkv;          // (N, 3C)
  const TensorView* dgate;         // (N, G), accumulator dtype; null when not gated
  const TensorView* dgate_hidden;  // (N, H · K); null without a perceptron
  const TensorView* dattended;     // (N, C)
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
  void AddSinks(const ModelBuild& build, const LayerNames& names);
  void AddQueryKeyValue(const ModelBuild& build, const LayerNames& names);
  ops::AttentionDims Dims(const ForwardPass& pass) const;
  bool gated_by_input() const {
    const ops::AttentionVariant& variant = config_.variant;
    return variant.gated() && !variant.gate_is_free() &&
           variant.gate_source == ops::GateSource::kInput;
  }
  GateTensors TensorsOfGate(const TensorView& x, const AttentionActivations& saved) const;
  absl::Status AttentionForward(ExecutionContext& context, const ForwardPass& pass,
                                const TensorView& qkv, const TensorView& gate,
                                const AttentionActivations& saved);
  absl::Status AttentionBackward(ExecutionContext& context, const ForwardPass& pass,
                                 const AttentionActivations& saved,
                                 const AttentionScratch& scratch);
  absl::Status GateBackward(ExecutionContext& context, const AttentionActivations& saved,
                            const AttentionScratch& scratch, const BackwardCall& call);

  AttentionBlockConfig config_;
  int layer_;
  int qkv_weight_ = -1, qkv_bias_ = -1;                    // first of the joined q, k, v
  int sink_logit_ = -1, sink_key_ = -1, sink_value_ = -1;  // -1: none
  GateLayer gate_;                                         // when gated
  Projection output_;
  ops::Linear qkv_;
  const ParameterStore* parameters_ = nullptr;
};

}  // namespace sluice
