#include "model/operation_count.h"

namespace sluice {

OperationsPerToken CountOperations(const ModelConfig& model, int64_t length, double target_share) {
  const auto L = static_cast<double>(model.num_hidden_layers);
  const auto C = static_cast<double>(model.hidden_size);
  const auto I = static_cast<double>(model.intermediate_size);
  const auto H = static_cast<double>(model.num_attention_heads);
  const auto V = static_cast<double>(model.vocab_size);
  const auto T = static_cast<double>(length);
  OperationsPerToken count;
  count.projections = 2 * L * (4 * C * C + 2 * C * I);
  count.attention = 4 * L * T * C;
  count.gates = model.attention.variant == "gated" ? 2 * L * C * H : 0;
  count.head = target_share * 2 * (C * C + C * V);
  return count;
}

}  // namespace sluice
