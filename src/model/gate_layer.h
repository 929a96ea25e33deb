// The gate of gated attention with its parameters, one gate a head or a channel:
//   gate = scale · σ(logit / temperature)                  ops/attention_variant.h
//   logit = source · weightᵀ [+ bias]                      linear
//   logit_h = weight_h · relu(source_h · W_hᵀ + b_h) + bias_h   perceptron, source_h the head's
//   slice logit_h = a_h                                          free
#pragma once

#include <string>

#include "absl/status/status.h"
#include "model/architecture.h"
#include "model/model_build.h"
#include "ops/attention_gate.h"
#include "ops/attention_variant.h"
#include "ops/block_linear.h"

namespace sluice {

struct GateLayerConfig {
  int64_t num_attention_heads, head_size;  // H, D; C = H · D
  ops::AttentionVariant variant;           // gated
  WeightInitialization initialization;
  // The bias starts where σ would be this with weights of zero; 0: as the weights do.
  double initial_probability;
  double initializer_range;  // of the logit's weights, N(0, range); 0: as `initialization` has it
};

// What a gate needs of a layer: rows of the source and the gates that came of it.
struct GateTensors {
  TensorView source;   // (N, C); not read by a free gate
  TensorView gate;     // (N, G), accumulator dtype; G = H or C
  TensorView dgate;    // (N, G): backward
  TensorView dsource;  // (N, C), ADDED to: backward
  TensorView hidden;   // (N, H · K): a perceptron's units behind relu, saved; else null
  TensorView dhidden;  // (N, H · K): scratch of backward
};

class GateLayer {
 public:
  // Adds `name`.weight (G, C or D) and, if the variant has one, `name`.bias (G); for a perceptron
  // `name`.hidden.weight (H · K, D), `name`.hidden.bias (H · K), and `name`.weight is (H, K); for a
  // free gate `name`.logit (H) alone.
  void Add(const ModelBuild& build, const std::string& name, const GateLayerConfig& config);
  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  // source → gate, overwritten.
  absl::Status Forward(ExecutionContext& context, const GateTensors& tensors);
  // Adds to the parameters' gradients and to dsource.
  absl::Status Backward(ExecutionContext& context, const GateTensors& tensors);

 private:
  // Whether the logits' op has each head read features of its own.
  bool ReadsSlices() const { return variant_.gate_per_head_slice || variant_.gate_is_perceptron(); }
  void AddLogit(const ModelBuild& build, const std::string& name, const GateLayerConfig& config);
  void AddHidden(const ModelBuild& build, const std::string& name, const GateLayerConfig& config);
  absl::Status LogitBackward(ExecutionContext& context, const TensorView& source,
                             const TensorView& dsource, const GateTensors& tensors);

  ops::AttentionVariant variant_;
  // Parameter indices; -1: none. A free gate's logits are its bias.
  int weight_ = -1, bias_ = -1, hidden_weight_ = -1, hidden_bias_ = -1;
  ops::Linear::Parameters values_;
  ops::BlockLinear hidden_;        // of a perceptron, a block a head
  ops::ChannelGate channel_gate_;  // with one gate a channel
};

}  // namespace sluice
