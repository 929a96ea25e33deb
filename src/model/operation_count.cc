#include "model/operation_count.h"

namespace sluice {

double ExpectedTargetShare(const RunConfig& config) {
  if (ObjectiveOf(config.model) == Objective::kMasked) return config.data.mlm_probability;
  if (config.data.source == "bigram_backcopy") return 1;
  return 1 - 1 / static_cast<double>(config.data.sequence_length);
}

OperationsPerToken CountOperations(const ModelConfig& model, int64_t length, double target_share) {
  const auto L = static_cast<double>(model.num_hidden_layers);
  const auto C = static_cast<double>(model.hidden_size);
  const auto I = static_cast<double>(model.intermediate_size);
  const auto H = static_cast<double>(model.num_attention_heads);
  const auto V = static_cast<double>(model.vocab_size);
  const bool projected =
      model.word_embed_proj_dim != 0 && model.word_embed_proj_dim != model.hidden_size;
  const double E = projected ? static_cast<double>(model.word_embed_proj_dim) : C;
  const bool is_bert = model.architecture == "bert";
  const auto tokens = static_cast<double>(length);
  const double T = tokens + static_cast<double>(model.attention.register_tokens);
  const double rows_a_token = T / tokens;
  OperationsPerToken count;
  count.projections = rows_a_token * 2 * L * (4 * C * C + 2 * C * I) + (projected ? 2 * C * E : 0);
  count.attention = rows_a_token * (is_bert ? 4 * L * T * C : 2 * L * (T + 1) * C);
  const GateConfig& gate = model.attention.gate;
  double products = (gate.granularity == "channel" ? C : H) * (gate.per_head_slice ? C / H : C);
  if (gate.predictor == "mlp") {
    products = (C + H) * static_cast<double>(gate.predictor_hidden_size);
  } else if (gate.predictor == "free_scalar") {
    products = 0;
  }
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    if (IsGated(model.attention, layer)) count.gates += rows_a_token * 2 * products;
  }
  count.head = target_share * 2 * (E * V + (is_bert ? C * C : 0) + (projected ? C * E : 0));
  return count;
}

}  // namespace sluice
