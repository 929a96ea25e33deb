#include <cmath>
#include <map>

#include "small_model.h"

namespace sluice {
namespace {

using testing::MakeEngine;
using testing::SmallBertConfig;

std::unique_ptr<Engine> PlanBase(const std::string& variant) {
  RunConfig config;  // the defaults are BERT-base's
  config.model.vocab_size = 30522;
  config.model.attention.variant = variant;
  auto engine = Engine::Create(
      config, {.dtype = DType::kBFloat16, .max_batch = 1, .length = 8, .train = false});
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

TEST(BertParametersTest, BaseHasThePublishedCounts) {
  const int64_t vanilla = PlanBase("vanilla")->parameters().parameter_count();
  EXPECT_EQ(vanilla, 109514298);  // embeddings 23,837,184 + encoder 85,054,464 + head 622,650
  EXPECT_EQ(PlanBase("gated")->parameters().parameter_count(), vanilla + 12 * 9216);
}

TEST(BertParametersTest, NamesAreHuggingFaces) {
  const auto engine = PlanBase("gated");
  std::map<std::string, Shape> shapes;
  for (const Parameter& parameter : engine->parameters().parameters())
    shapes[parameter.name] = parameter.shape;
  EXPECT_EQ(shapes.at("bert.encoder.layer.11.attention.self.gate.weight"), (Shape{12, 768}));
  EXPECT_EQ(shapes.at("bert.encoder.layer.0.attention.self.query.weight"), (Shape{768, 768}));
  EXPECT_EQ(shapes.at("bert.encoder.layer.0.intermediate.dense.bias"), (Shape{3072}));
  EXPECT_EQ(shapes.at("bert.embeddings.word_embeddings.weight"), (Shape{30522, 768}));
  EXPECT_EQ(shapes.at("cls.predictions.bias"), (Shape{30522}));
  EXPECT_EQ(shapes.at("cls.predictions.transform.LayerNorm.weight"), (Shape{768}));
  EXPECT_EQ(shapes.size(), 5u + 12 * 17 + 5);
}

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};

Moments MomentsOf(const Engine& engine, const std::string& name) {
  for (size_t p = 0; p < engine.parameters().parameters().size(); ++p) {
    if (engine.parameters().parameters()[p].name != name) continue;
    const TensorView view = engine.parameters().Master(p);
    Moments moments;
    for (int64_t i = 0; i < view.elements(); ++i) {
      const double value = view.as<float>()[i];
      moments.mean += value / view.elements();
      moments.deviation += value * value / view.elements();
      moments.largest = std::max(moments.largest, std::abs(value));
    }
    moments.deviation = std::sqrt(moments.deviation - moments.mean * moments.mean);
    return moments;
  }
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

TEST(BertParametersTest, InitializationFollowsTheCodeOrTheText) {
  RunConfig config = SmallBertConfig("gated");
  config.model.hidden_size = 96;
  config.model.num_attention_heads = 4;
  config.model.initializer_range = 0.02;
  const double bound = 1 / std::sqrt(96.0);
  const std::string self = "bert.encoder.layer.1.attention.self.";
  {
    const auto engine = MakeEngine(config, DType::kFloat32, 1, 4);
    const Moments query = MomentsOf(
        *engine, self + "query.weight");  // 9216 draws: 5 standard errors of the deviation
    EXPECT_NEAR(query.deviation, bound / std::sqrt(3.0), 5 * 0.45 * bound / std::sqrt(3.0 * 9216));
    EXPECT_LE(query.largest, bound);
    EXPECT_GT(MomentsOf(*engine, self + "key.bias").deviation, 0);
    EXPECT_LE(MomentsOf(*engine, self + "gate.weight").largest, bound);
    EXPECT_NEAR(MomentsOf(*engine, "bert.encoder.layer.0.output.dense.weight").deviation, 0.02,
                5 * 0.02 / std::sqrt(2.0 * 40 * 96));
    EXPECT_EQ(MomentsOf(*engine, "bert.encoder.layer.0.output.dense.bias").largest, 0);
    EXPECT_NEAR(MomentsOf(*engine, "bert.embeddings.LayerNorm.weight").mean, 1, 1e-12);
    const TensorView table =
        engine->parameters().Master(engine->parameters().parameters().size() - 1);
    EXPECT_EQ(table.as<float>()[95], 0);  // [PAD]
    EXPECT_NE(table.as<float>()[96], 0);
  }
  config.model.initialization = "paper_text";
  const auto engine = MakeEngine(config, DType::kFloat32, 1, 4);
  EXPECT_NEAR(MomentsOf(*engine, self + "query.weight").deviation, 0.02,
              5 * 0.02 / std::sqrt(2.0 * 9216));
  EXPECT_EQ(MomentsOf(*engine, self + "key.bias").largest, 0);
}

TEST(BertParametersTest, InitialWeightsDoNotDependOnVariantOrPrecision) {
  const auto a = MakeEngine(SmallBertConfig("vanilla"), DType::kFloat32, 1, 4);
  const auto b = MakeEngine(SmallBertConfig("gated"), DType::kBFloat16, 2, 8);
  const std::string name = "bert.encoder.layer.1.attention.self.value.weight";
  EXPECT_EQ(MomentsOf(*a, name).mean, MomentsOf(*b, name).mean);
}

TEST(BertParametersTest, UnknownWordsListTheKnownOnes) {
  RunConfig config = SmallBertConfig("sigmoid");
  const auto engine = Engine::Create(config, {.max_batch = 1, .length = 4});
  EXPECT_EQ(engine.status().message(),
            "unknown model.attention.variant: sigmoid: known: vanilla, gated, clipped_softmax, "
            "learnable_sink, softmax_plus_one, relu");
}

}  // namespace
}  // namespace sluice
