// Which attention a model has, as data. The rows of docs/attention_variants.md; formulas in
// kernels/api/attention.h. The parts combine; a default-constructed variant is vanilla.
#pragma once

#include <cstdint>

#include "kernels/api/attention.h"

namespace sluice::ops {

enum class GateSource { kValue /* VGA */, kInput /* IGA */ };
enum class GateGranularity { kHead, kChannel };

struct AttentionVariant {
  GateSite gate_site = GateSite::kNone;  // kNone: no gate; no other gate_ field is read
  GateSource gate_source = GateSource::kValue;
  bool gate_bias = false;
  GateGranularity gate_granularity = GateGranularity::kHead;
  bool gate_per_head_slice = false;  // a head's gates read that head's features of the source only
  ClippedSoftmax clip = {};
  SoftmaxSink sink = SoftmaxSink::kNone;  // a logit in the softmax's denominator
  bool sink_token = false;                // a learned key and value a head
  int64_t registers = 0;                  // learned embeddings before every row

  bool gated() const { return gate_site != GateSite::kNone; }
  bool gate_per_channel() const { return gated() && gate_granularity == GateGranularity::kChannel; }
  // The gate's weight is (GateOutputs, GateInputs), its bias (GateOutputs); gates are (N,
  // GateOutputs).
  int64_t GateOutputs(int64_t H, int64_t D) const { return gate_per_channel() ? H * D : H; }
  int64_t GateInputs(int64_t H, int64_t D) const { return gate_per_head_slice ? D : H * D; }
};

}  // namespace sluice::ops
