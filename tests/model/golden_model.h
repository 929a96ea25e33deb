// A model held to a golden: the step of a tiny model that PyTorch and transformers computed
// (tests/golden/make_goldens.py).
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/check.h"
#include "small_model.h"
#include "support/compare.h"
#include "support/golden_file.h"

namespace sluice::testing {

inline std::vector<int32_t> Int32(const GoldenArray& array) {
  return {array.integers.begin(), array.integers.end()};
}

// What all goldens say alike; table, up and position name weights of the model.
inline ModelConfig GoldenModelConfig(const GoldenFile& golden, const std::string& table,
                                     const std::string& up_bias) {
  ModelConfig model;
  model.vocab_size = golden.At("weight/" + table).shape[0];
  model.hidden_size = golden.At("weight/" + table).shape[1];
  model.num_hidden_layers = std::stoi(golden.metadata.at("layers"));
  model.num_attention_heads = std::stoi(golden.metadata.at("heads"));
  model.intermediate_size = golden.At("weight/" + up_bias).shape[0];
  model.hidden_act = golden.metadata.at("hidden_act");
  model.layer_norm_eps = std::stod(golden.metadata.at("layer_norm_eps"));
  model.hidden_dropout_prob = model.attention_probs_dropout_prob = 0;
  model.attention.variant = golden.metadata.at("variant");
  if (model.attention.variant == "gated") {
    model.attention.gate = {.source = golden.metadata.at("gate_source"),
                            .site = golden.metadata.at("gate_site"),
                            .bias = true};
  }
  return model;
}

// Both sides round each of some 80 operations on the way (2 layers, about 40 each) to fp32;
// independent roundings add like sqrt(80) ≈ 9, six standard deviations of the difference of two
// sides: 6 · sqrt(2) · 9 ≈ 76 u of the largest value.
inline double GoldenShare() { return 76 * UnitRoundoff<float>(); }

inline void LoadGoldenWeights(const GoldenFile& golden, Engine& engine) {
  const auto& parameters = engine.parameters().parameters();
  size_t weights = 0;
  for (const auto& [name, array] : golden.arrays) weights += name.starts_with("weight/");
  ASSERT_EQ(parameters.size(), weights);
  for (size_t p = 0; p < parameters.size(); ++p) {
    const GoldenArray& weight = golden.At("weight/" + parameters[p].name);
    ASSERT_EQ(weight.size(), parameters[p].elements()) << parameters[p].name;
    std::copy(weight.floats.begin(), weight.floats.end(),
              engine.parameters().Master(static_cast<int>(p)).as<float>());
  }
  CHECK_OK(engine.WeightsLoaded());
}

inline void ExpectGoldenGradients(const GoldenFile& golden, const Engine& engine, double targets) {
  const auto& parameters = engine.parameters().parameters();
  for (size_t p = 0; p < parameters.size(); ++p) {
    const std::vector<float>& expected = golden.At("gradient/" + parameters[p].name).floats;
    const float* sum = engine.parameters().Gradient(static_cast<int>(p)).as<float>();
    std::vector<double> actual(expected.size());
    double largest = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      actual[i] = sum[i] / targets;
      largest = std::max<double>(largest, std::abs(expected[i]));
    }
    // A gradient that is zero in exact arithmetic (key biases: softmax ignores them) is the
    // roundoff of its terms.
    ExpectClose(parameters[p].name, actual, expected,
                {.absolute = GoldenShare() * std::max(largest, 1e-2),
                 .zeros_expected = true,
                 .derivation = "76 u of the largest gradient of the parameter"});
  }
}

// Loss, logits at the targets, and every gradient.
inline void ExpectGoldenStep(const GoldenFile& golden, const ModelConfig& model,
                             const Batch& batch) {
  RunConfig config;
  config.model = model;
  auto engine = MakeEngine(config, DType::kFloat32, batch.B, batch.T);
  LoadGoldenWeights(golden, *engine);
  const auto logits = engine->model().Predict(engine->context(), batch, batch.target_positions);
  ASSERT_TRUE(logits.ok()) << logits.status();
  const std::vector<float>& expected = golden.At("logits").floats;
  double largest = 0;
  for (float value : expected) largest = std::max<double>(largest, std::abs(value));
  ExpectClose(
      "logits", std::vector<float>(logits->as<float>(), logits->as<float>() + logits->elements()),
      expected, {.absolute = GoldenShare() * largest, .derivation = "76 u of the largest logit"});

  ModelLosses losses;
  ASSERT_TRUE(engine->ForwardBackward(batch, {.train = true}, losses).ok());
  const auto targets = static_cast<double>(losses.language_model.targets);
  EXPECT_NEAR(losses.language_model.loss / targets, golden.At("loss").floats[0],
              GoldenShare() * golden.At("loss").floats[0]);
  ExpectGoldenGradients(golden, *engine, targets);
}

}  // namespace sluice::testing
