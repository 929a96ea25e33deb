// Small models of every attention variant, and their loss, for tests of quantization.
#pragma once

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/small_model.h"

namespace sluice::testing {

struct Model {
  std::string name;
  RunConfig config;
  BatchShape batch;
};

// Every variant in both kinds of model; lengths: batches have padding.
inline std::vector<Model> Models(bool lengths = false) {
  std::vector<Model> models;
  for (const bool causal : {false, true}) {
    const auto add = [&](const std::string& name, auto change) {
      Model model = {(causal ? "opt " : "bert ") + name,
                     causal ? SmallDecoderConfig("opt") : SmallBertConfig(),
                     {.lengths = lengths, .segments = !causal, .causal = causal}};
      change(model.config.model.attention);
      models.push_back(model);
    };
    add("vanilla", [](AttentionConfig&) {});
    for (const char* source : {"value", "input"}) {
      for (const char* site : {"query", "key"}) {
        add(std::string("gated ") + source + " " + site, [&](AttentionConfig& attention) {
          attention.variant = "gated";
          attention.gate = {source, site, true};
        });
      }
    }
    add("channel gate", [](AttentionConfig& attention) {
      attention.variant = "gated";
      attention.gate.granularity = "channel";
    });
    add("scaled gate in a layer", [](AttentionConfig& attention) {
      attention.variant = "gated";
      attention.gate = {
          .initial_probability = 0.25, .predictor = "mlp", .predictor_hidden_size = 3};
      attention.gate.scale = "one_at_start";
      attention.gate.layers = {1};
    });
    add("clipped", [](AttentionConfig& attention) { attention.variant = "clipped_softmax"; });
    add("plus one", [](AttentionConfig& attention) { attention.variant = "softmax_plus_one"; });
    add("relu", [](AttentionConfig& attention) { attention.variant = "relu"; });
    for (const char* sink : {"logit", "token"}) {
      add(std::string("sink ") + sink, [&](AttentionConfig& attention) {
        attention.variant = "learnable_sink";
        attention.learnable_sink = sink;
      });
    }
    add("registers", [](AttentionConfig& attention) { attention.register_tokens = 2; });
  }
  models.push_back({"bigram", SmallDecoderConfig("bigram_backcopy"), {.causal = true}});
  return models;
}

// Mean over the targets.
inline double Loss(Engine& engine, const Batch& batch, Observer* observer) {
  ModelLosses losses;
  EXPECT_TRUE(engine.Evaluate(batch, losses, observer).ok());
  return losses.language_model.loss / static_cast<double>(losses.language_model.targets);
}

}  // namespace sluice::testing
