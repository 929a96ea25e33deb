// Which attention a model has, as data. The rows of docs/attention_variants.md; formulas in
// kernels/api/attention.h. The parts combine; a default-constructed variant is vanilla.
#pragma once

#include <cstdint>

#include "kernels/api/attention.h"
#include "kernels/api/attention_gate.h"

namespace sluice::ops {

enum class GateSource { kValue /* VGA */, kInput /* IGA */ };
enum class GateGranularity { kHead, kChannel };
// What makes a gate's logit: a linear layer on the source; a perceptron a head on the head's slice
// of it, with ReLU and biases; a learned number a head.
enum class GatePredictor { kLinear, kPerceptron, kFreeScalar };

struct AttentionVariant {
  GateSite gate_site = GateSite::kNone;  // kNone: no gate; no other gate_ field is read
  GateSource gate_source = GateSource::kValue;
  bool gate_bias = false;
  GateGranularity gate_granularity = GateGranularity::kHead;
  bool gate_per_head_slice = false;  // a head's gates read that head's features of the source only
  GatePredictor gate_predictor = GatePredictor::kLinear;  // the others: one gate a head
  int64_t gate_hidden_size = 0;                           // K: of a head's perceptron
  GateCurve<double> gate_curve = {};                      // temperature and scale
  AttentionWeights weights = AttentionWeights::kSoftmax;
  ClippedSoftmax clip = {};
  SoftmaxSink sink = SoftmaxSink::kNone;  // a logit in the softmax's denominator
  bool sink_token = false;                // a learned key and value a head
  int64_t registers = 0;                  // learned embeddings before every row

  bool gated() const { return gate_site != GateSite::kNone; }
  bool gate_per_channel() const { return gated() && gate_granularity == GateGranularity::kChannel; }
  bool gate_is_free() const { return gated() && gate_predictor == GatePredictor::kFreeScalar; }
  bool gate_is_perceptron() const {
    return gated() && gate_predictor == GatePredictor::kPerceptron;
  }
  // The gate's weight is (GateOutputs, GateInputs), its bias (GateOutputs); gates are (N,
  // GateOutputs). A free gate has no weight; a perceptron's reads the hidden units of its head.
  int64_t GateOutputs(int64_t H, int64_t D) const { return gate_per_channel() ? H * D : H; }
  int64_t GateInputs(int64_t H, int64_t D) const {
    return gate_is_perceptron() ? gate_hidden_size : gate_per_head_slice ? D : H * D;
  }
};

}  // namespace sluice::ops
