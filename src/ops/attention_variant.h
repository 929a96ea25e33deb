// Which attention a model has, as data. The rows of docs/attention_variants.md; formulas in
// kernels/api/attention.h.
#pragma once

#include "kernels/api/attention.h"

namespace sluice::ops {

enum class GateSource { kValue /* VGA */, kInput /* IGA */ };

struct AttentionVariant {
  GateSite gate_site = GateSite::kNone;  // kNone: vanilla; nothing below is read
  GateSource gate_source = GateSource::kValue;
  bool gate_bias = false;

  bool gated() const { return gate_site != GateSite::kNone; }
};

}  // namespace sluice::ops
