#include "config/run_config.h"

#include <algorithm>

#include "config/number_text.h"

namespace sluice {

double GateStart(const GateConfig& gate) {
  if (gate.initial_probability > 0) return gate.initial_probability;
  const bool zero_logit =
      gate.predictor == "free_scalar" || (gate.predictor == "linear" && !gate.bias);
  return zero_logit ? 0.5 : 0;
}

double GateScale(const GateConfig& gate) {
  if (gate.scale == "one_at_start") {
    const double start = GateStart(gate);
    return start > 0 ? 1 / start : 0;
  }
  return ParseReal(gate.scale).value_or(0);
}

bool IsGated(const AttentionConfig& attention, int64_t layer) {
  const std::vector<int64_t>& layers = attention.gate.layers;
  return attention.variant == "gated" &&
         (layers.empty() || std::find(layers.begin(), layers.end(), layer) != layers.end());
}

}  // namespace sluice
