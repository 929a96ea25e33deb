// Random small models: every architecture, every attention variant, sizes that divide nothing.
#pragma once

#include <string>
#include <vector>

#include "config/dump.h"
#include "config/load.h"
#include "config/run_config.h"
#include "gtest/gtest.h"
#include "random_case.h"

namespace sluice::testing {

// Where a gradient jumps (relu, clipped softmax) a rounding can change it by any amount: what
// compares two roundings of one model keeps away from both.
enum class Kinks { kAllowed, kAvoided };

// Of every layer, or of some.
inline std::vector<int64_t> DrawLayers(Draw& draw, int64_t count) {
  std::vector<int64_t> layers;
  if (draw.Coin()) return layers;
  for (int64_t layer = 0; layer < count; ++layer) {
    if (draw.Coin()) layers.push_back(layer);
  }
  return layers;
}

inline GateConfig DrawGate(Draw& draw, Kinks kinks, int64_t layers) {
  GateConfig gate;
  gate.site = draw.OneOf({"query", "key"});
  gate.predictor = draw.OneOf({"linear", "linear", "free_scalar"});
  if (kinks == Kinks::kAllowed && draw.Integer(0, 3) == 0) gate.predictor = "mlp";
  if (gate.predictor != "free_scalar") gate.source = draw.OneOf({"value", "input"});
  if (gate.predictor == "mlp") gate.predictor_hidden_size = draw.Integer(1, 9);
  if (gate.predictor == "linear") {
    gate.bias = draw.Coin();
    gate.granularity = draw.OneOf({"head", "channel"});
    gate.per_head_slice = draw.Coin();
  }
  const bool can_start = gate.predictor != "linear" || gate.bias;
  if (can_start && draw.Coin()) gate.initial_probability = draw.Real(0.1, 0.9);
  if (draw.Coin()) gate.temperature = draw.Real(0.5, 2);
  if (GateStart(gate) > 0 && draw.Coin()) {
    gate.scale = "one_at_start";
  } else if (draw.Coin()) {
    gate.scale = draw.OneOf({"0.5", "1.7"});
  }
  gate.layers = DrawLayers(draw, layers);
  return gate;
}

inline ClippedSoftmaxConfig DrawClip(Draw& draw) {
  ClippedSoftmaxConfig clip;
  if (draw.Coin()) {
    clip.alpha = draw.Real(0.1, 2);
    return clip;
  }
  clip.gamma = draw.Real(-0.2, -0.01);
  clip.zeta = draw.OneOf({1.0, 1.03, 1.2});
  return clip;
}

inline AttentionConfig DrawAttention(Draw& draw, Kinks kinks, int64_t layers) {
  AttentionConfig attention;
  const int64_t last = kinks == Kinks::kAllowed ? 6 : 4;
  switch (draw.Integer(0, last)) {
    case 0:
      break;  // vanilla
    case 1:
    case 2:  // the variant with the most settings, twice as often
      attention.variant = "gated";
      attention.gate = DrawGate(draw, kinks, layers);
      break;
    case 3:
      attention.variant = "learnable_sink";
      attention.learnable_sink = draw.OneOf({"logit", "token"});
      break;
    case 4:
      attention.variant = "softmax_plus_one";
      break;
    case 5:
      attention.variant = "clipped_softmax";
      attention.clipped_softmax = DrawClip(draw);
      break;
    case 6:
      attention.variant = "relu";
      break;
  }
  if (draw.Coin()) attention.register_tokens = draw.Integer(1, 4);
  return attention;
}

inline ModelConfig DrawModel(Draw& draw, Kinks kinks) {
  ModelConfig model;
  model.architecture = draw.OneOf({"bert", "opt", "bigram_backcopy"});
  model.num_attention_heads = draw.Integer(1, 3);
  model.hidden_size = model.num_attention_heads * draw.Integer(8, 13);
  model.num_hidden_layers = draw.Integer(1, 3);
  model.intermediate_size = draw.Integer(5, 45);
  if (model.architecture == "opt" && draw.Coin()) model.word_embed_proj_dim = draw.Integer(5, 30);
  model.hidden_act = draw.OneOf({"gelu_erf", "gelu_tanh"});
  if (kinks == Kinks::kAllowed && draw.Integer(0, 2) == 0) model.hidden_act = "relu";
  model.layer_norm_eps = draw.OneOf({1e-12, 1e-5, 1e-3});
  model.hidden_dropout_prob = draw.Coin() ? draw.Real(0.05, 0.3) : 0;
  model.attention_probs_dropout_prob = draw.Coin() ? draw.Real(0.05, 0.3) : 0;
  model.initialization = draw.OneOf({"paper_code", "paper_text"});
  model.initializer_range = draw.Real(0.1, 0.35);  // large enough that every layer matters
  model.attention = DrawAttention(draw, kinks, model.num_hidden_layers);
  return model;
}

// The text that a failure shows is the whole case: loading it gives the same configuration.
inline void ExpectDumpLoads(const RunConfig& config) {
  const auto loaded = ParseRunConfig(DumpRunConfig(config), "drawn", ConfigUse::kInspection);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(*loaded == config);
}

}  // namespace sluice::testing
