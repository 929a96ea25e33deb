// The gate of gated attention with its parameters: σ(source · weightᵀ [+ bias]), one gate a head or
// a channel (ops/attention_variant.h).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "model/architecture.h"
#include "model/model_build.h"
#include "ops/attention_gate.h"
#include "ops/attention_variant.h"

namespace sluice {

struct GateLayerConfig {
  int64_t num_attention_heads, head_size;  // H, D; C = H · D
  ops::AttentionVariant variant;           // gated
  WeightInitialization initialization;
  // The bias starts where every gate would be this with weights of zero; 0: as the weights do.
  double initial_probability;
};

// What a gate needs of a layer: rows of the source and the gates that came of it.
struct GateTensors {
  TensorView source;   // (N, C)
  TensorView gate;     // (N, G), accumulator dtype; G = H or C
  TensorView dgate;    // (N, G): backward
  TensorView dsource;  // (N, C), ADDED to: backward
};

class GateLayer {
 public:
  // Adds `name`.weight (G, C or D) and, if the variant has one, `name`.bias (G).
  void Add(const ModelBuild& build, const std::string& name, const GateLayerConfig& config);
  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  // source → gate, overwritten.
  absl::Status Forward(ExecutionContext& context, const GateTensors& tensors);
  // Adds to the parameters' gradients and to dsource.
  absl::Status Backward(ExecutionContext& context, const GateTensors& tensors);

 private:
  ops::AttentionVariant variant_;
  int weight_ = -1, bias_ = -1;  // parameter indices; no bias: -1
  ops::Linear::Parameters values_;
  ops::ChannelGate channel_gate_;  // with one gate a channel
};

}  // namespace sluice
