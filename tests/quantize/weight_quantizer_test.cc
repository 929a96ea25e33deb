#include "quantize/weight_quantizer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "model/small_model.h"
#include "quantize/range_estimator.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::MakeEngine;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

std::map<std::string, WeightRole> Roles(const RunConfig& config) {
  const auto engine = MakeEngine(config, DType::kFloat32, 2, 7);
  std::map<std::string, WeightRole> roles;
  for (const Parameter& parameter : engine->parameters().parameters()) {
    roles[parameter.name] = RoleOfWeight(parameter);
  }
  return roles;
}

std::set<std::string> Of(const std::map<std::string, WeightRole>& roles, WeightRole role) {
  std::set<std::string> names;
  for (const auto& [name, own] : roles) {
    // Layer 1 is as layer 0.
    if (own == role && name.find("ayer.1.") == std::string::npos &&
        name.find("layers.1.") == std::string::npos) {
      names.insert(name);
    }
  }
  return names;
}

TEST(RoleOfWeightTest, OfBert) {
  RunConfig config = SmallBertConfig("gated", "value", "query", true);
  config.model.attention.register_tokens = 2;
  const auto roles = Roles(config);
  const std::string layer = "bert.encoder.layer.0.", tables = "bert.embeddings.";
  EXPECT_EQ(Of(roles, WeightRole::kTokenTable),
            (std::set<std::string>{tables + "word_embeddings.weight"}));
  EXPECT_EQ(Of(roles, WeightRole::kEmbedding),
            (std::set<std::string>{tables + "position_embeddings.weight",
                                   tables + "token_type_embeddings.weight",
                                   tables + "register_embeddings.weight"}));
  EXPECT_EQ(Of(roles, WeightRole::kNorm),
            (std::set<std::string>{tables + "LayerNorm.weight",
                                   layer + "attention.output.LayerNorm.weight",
                                   layer + "output.LayerNorm.weight"}));
  EXPECT_EQ(Of(roles, WeightRole::kLinear),
            (std::set<std::string>{
                layer + "attention.self.query.weight", layer + "attention.self.key.weight",
                layer + "attention.self.value.weight", layer + "attention.output.dense.weight",
                layer + "intermediate.dense.weight", layer + "output.dense.weight"}));
  EXPECT_EQ(roles.at(layer + "attention.self.gate.weight"), WeightRole::kNotQuantized);
  EXPECT_EQ(roles.at("cls.predictions.transform.dense.weight"), WeightRole::kNotQuantized);
  EXPECT_EQ(roles.at("cls.predictions.transform.LayerNorm.weight"), WeightRole::kNotQuantized);
}

TEST(RoleOfWeightTest, OfDecoders) {
  const auto opt = Roles(SmallDecoderConfig("opt", "learnable_sink"));
  const std::string decoder = "model.decoder.", layer = decoder + "layers.0.";
  EXPECT_EQ(Of(opt, WeightRole::kTokenTable),
            (std::set<std::string>{decoder + "embed_tokens.weight"}));
  EXPECT_EQ(Of(opt, WeightRole::kEmbedding),
            (std::set<std::string>{decoder + "embed_positions.weight"}));
  EXPECT_EQ(Of(opt, WeightRole::kNorm),
            (std::set<std::string>{layer + "self_attn_layer_norm.weight",
                                   layer + "final_layer_norm.weight",
                                   decoder + "final_layer_norm.weight"}));
  EXPECT_EQ(Of(opt, WeightRole::kLinear).size(), 6);
  const auto bigram = Roles(SmallDecoderConfig("bigram_backcopy"));
  EXPECT_EQ(Of(bigram, WeightRole::kTokenTable), (std::set<std::string>{"token_embedding.weight"}));
  EXPECT_EQ(Of(bigram, WeightRole::kEmbedding),
            (std::set<std::string>{"position_embedding.weight"}));
  EXPECT_EQ(Of(bigram, WeightRole::kNorm),
            (std::set<std::string>{"layers.0.attention_norm.weight",
                                   "layers.0.feed_forward_norm.weight", "final_norm.weight"}));
  EXPECT_EQ(bigram.at("unembedding.weight"), WeightRole::kNotQuantized);
}

std::vector<float> Values(const Engine& engine, int index) {
  const TensorView master = engine.parameters().Master(index);
  return {master.as<float>(), master.as<float>() + master.elements()};
}

TEST(WeightQuantizerTest, WeightsAreOnTheirGridAndComeBack) {
  for (const bool per_channel : {false, true}) {
    const auto engine = MakeEngine(SmallBertConfig("gated"), DType::kFloat32, 2, 7);
    const std::vector<Parameter>& parameters = engine->parameters().parameters();
    std::vector<std::vector<float>> before;
    for (size_t i = 0; i < parameters.size(); ++i) before.push_back(Values(*engine, i));
    WeightQuantizer quantizer({.bits = 4, .per_channel = per_channel});
    ASSERT_TRUE(quantizer.Quantize(engine->device(), engine->parameters()).ok());
    for (size_t i = 0; i < parameters.size(); ++i) {
      const std::vector<float> values = Values(*engine, i);
      const WeightRole role = RoleOfWeight(parameters[i]);
      SCOPED_TRACE(parameters[i].name);
      if (role == WeightRole::kNotQuantized || role == WeightRole::kTokenTable) {
        EXPECT_EQ(values, before[i]);
        continue;
      }
      const bool rows_apart = per_channel && role == WeightRole::kLinear;
      const int64_t group = rows_apart ? parameters[i].shape.dim(-1) : parameters[i].elements();
      for (int64_t begin = 0; begin < parameters[i].elements(); begin += group) {
        const std::vector<float> old(before[i].begin() + begin, before[i].begin() + begin + group);
        const auto [low, high] = std::minmax_element(old.begin(), old.end());
        const UniformQuantizer expected = UniformQuantizer::Symmetric({*low, *high}, 4);
        for (int64_t e = 0; e < group; ++e) {
          ASSERT_EQ(values[begin + e], expected.Quantize(old[e]));
        }
      }
    }
    ASSERT_TRUE(quantizer.Restore(engine->device(), engine->parameters()).ok());
    for (size_t i = 0; i < parameters.size(); ++i) EXPECT_EQ(Values(*engine, i), before[i]);
  }
}

TEST(WeightQuantizerTest, ANamedParameterHasSixteenBits) {
  const auto engine = MakeEngine(SmallDecoderConfig("opt"), DType::kFloat32, 2, 7);
  const std::string named = "model.decoder.final_layer_norm.weight";
  const std::vector<Parameter>& parameters = engine->parameters().parameters();
  for (const WeightRanges ranges : {WeightRanges::kMinMax, WeightRanges::kLeastSquares}) {
    // Gammas start at 1, which any number of bits can hold.
    std::vector<std::vector<float>> before;
    for (size_t i = 0; i < parameters.size(); ++i) {
      float* values = engine->parameters().Master(i).as<float>();
      if (RoleOfWeight(parameters[i]) == WeightRole::kNorm) {
        for (int64_t e = 0; e < parameters[i].elements(); ++e) values[e] = 1 + 0.1f * std::sin(e);
      }
      before.push_back(Values(*engine, i));
    }
    WeightQuantizer quantizer({.bits = 4, .ranges = ranges, .sixteen_bit = {named}});
    ASSERT_TRUE(quantizer.Quantize(engine->device(), engine->parameters()).ok());
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (RoleOfWeight(parameters[i]) != WeightRole::kNorm) continue;
      const TensorView view = TensorView::Of(before[i].data(), parameters[i].shape);
      const int bits = parameters[i].name == named ? 16 : 4;
      const UniformQuantizer expected = UniformQuantizer::Symmetric(
          ranges == WeightRanges::kMinMax ? MinMaxRange(view) : LeastSquaresRange(view, bits),
          bits);
      std::vector<float> values = before[i];
      expected.Apply(values);
      EXPECT_EQ(Values(*engine, i), values) << parameters[i].name;
    }
    ASSERT_TRUE(quantizer.Restore(engine->device(), engine->parameters()).ok());
  }
}

TEST(WeightQuantizerTest, MoreBitsLoseLess) {
  std::vector<double> decibels;
  for (const int bits : {2, 4, 8, 16}) {
    const auto engine = MakeEngine(SmallBertConfig(), DType::kFloat32, 2, 7);
    WeightQuantizer quantizer({.bits = bits, .ranges = WeightRanges::kLeastSquares});
    ASSERT_TRUE(quantizer.Quantize(engine->device(), engine->parameters()).ok());
    double signal = 0, noise = 0;
    for (const QuantizationError& error : quantizer.errors()) {
      signal += error.signal;
      noise += error.noise;
    }
    decibels.push_back(10 * std::log10(signal / noise));
  }
  for (size_t i = 1; i < decibels.size(); ++i) EXPECT_GT(decibels[i], decibels[i - 1] + 5);
}

}  // namespace
}  // namespace sluice
