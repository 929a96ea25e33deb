// Models above the sizes from which products are packed, cut into blocks or given to kernels of our
// own: 800 rows of 96 features.
#include "model_gradients.h"

namespace sluice {
namespace {

using testing::CheckBatchAgainstDouble;
using testing::CopyWeights;
using testing::FlatGradient;
using testing::MakeEngine;

constexpr int64_t kB = 4, kT = 200;

RunConfig LargeConfig(const std::string& architecture) {
  RunConfig config = testing::SmallDecoderConfig(architecture);
  if (architecture == "bert") config.model.hidden_act = "gelu_erf";
  config.model.vocab_size = 211;
  config.model.hidden_size = 96;
  config.model.num_hidden_layers = 1;
  config.model.num_attention_heads = 2;
  config.model.intermediate_size = 192;
  config.model.max_position_embeddings = kT;
  config.model.initializer_range = 0.1;
  config.data.sequence_length = kT;
  return config;
}

RunConfig WithGate(RunConfig config, const std::string& source, const std::string& site,
                   const std::string& granularity) {
  config.model.attention.variant = "gated";
  config.model.attention.gate.source = source;
  config.model.attention.gate.site = site;
  config.model.attention.gate.granularity = granularity;
  return config;
}

Batch LargeBatch(bool causal) {
  return testing::RandomBatch({.B = kB, .T = kT, .vocab_size = 211, .causal = causal}, 5);
}

TEST(LargeModelTest, GradientsAreCloseToDouble) {
  const RunConfig bert = LargeConfig("bert"), opt = LargeConfig("opt");
  for (const RunConfig& config : {bert, WithGate(bert, "value", "query", "head"),
                                  WithGate(bert, "input", "key", "channel")}) {
    CheckBatchAgainstDouble<float>(config, LargeBatch(/*causal=*/false));
    CheckBatchAgainstDouble<bf16>(config, LargeBatch(/*causal=*/false));
  }
  const RunConfig channel = WithGate(opt, "value", "query", "channel");
  CheckBatchAgainstDouble<float>(channel, LargeBatch(/*causal=*/true));
  CheckBatchAgainstDouble<bf16>(channel, LargeBatch(/*causal=*/true));
}

double Loss(Engine& engine, const Batch& batch) {
  ModelLosses losses;
  EXPECT_TRUE(engine.model().Forward(engine.context(), batch, {}, &losses).ok());
  return losses.language_model.loss;
}

// Packed weights are those of now, after an update and after weights were written from outside.
TEST(LargeModelTest, NothingComputesWithWeightsOfBefore) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const RunConfig config = WithGate(LargeConfig("opt"), "value", "query", "channel");
    const Batch batch = LargeBatch(/*causal=*/true);
    auto engine = MakeEngine(config, dtype, kB, kT);
    const double first = Loss(*engine, batch);
    ModelLosses losses;
    ASSERT_TRUE(engine->ForwardBackward(batch, {.train = true, .seed = 3}, losses).ok());
    const auto targets = static_cast<double>(losses.language_model.targets);
    ASSERT_TRUE(engine->ClipAndUpdate(1e-2, 1 / targets, nullptr).ok());
    const double updated = Loss(*engine, batch);
    EXPECT_LT(updated, first);
    auto fresh = MakeEngine(config, dtype, kB, kT);
    CopyWeights(*engine, *fresh);
    EXPECT_EQ(Loss(*fresh, batch), updated);
    const TensorView masters = engine->parameters().flat_master();
    for (int64_t i = 0; i < masters.elements(); ++i) masters.as<float>()[i] *= 0.9f;
    ASSERT_TRUE(engine->WeightsLoaded().ok());
    CopyWeights(*engine, *fresh);
    EXPECT_EQ(Loss(*fresh, batch), Loss(*engine, batch));
    EXPECT_NE(Loss(*engine, batch), updated);
  }
}

// Targets in one chunk or several, the last not full: the same sums.
TEST(LargeModelTest, ChunksOfTheHeadDoNotMatter) {
  RunConfig config = LargeConfig("bert");
  Batch batch = LargeBatch(/*causal=*/false);
  batch.targets.clear();
  batch.target_positions.clear();
  for (int32_t row = 0; row < kB * kT; row += 2) {
    batch.target_positions.push_back(row);
    batch.targets.push_back(row % 211);
  }
  const auto run = [&](double mlm_probability, ModelLosses& losses) {
    config.data.mlm_probability = mlm_probability;
    auto engine = MakeEngine(config, DType::kFloat32, kB, kT);
    EXPECT_TRUE(engine->ForwardBackward(batch, {.train = true, .seed = 3}, losses).ok());
    return std::pair(engine->model().max_predictions(), FlatGradient(*engine));
  };
  ModelLosses one, several;
  const auto [most, expected] = run(0.9, one);
  const auto [chunk, actual] = run(0.01, several);
  ASSERT_GE(most, 400);
  ASSERT_LT(chunk, 200);  // at least three chunks
  EXPECT_NE(400 % chunk, 0);
  EXPECT_EQ(several.language_model.targets, 400);
  EXPECT_EQ(several.language_model.correct, one.language_model.correct);
  EXPECT_NEAR(several.language_model.loss, one.language_model.loss,
              400 * testing::UnitRoundoff<float>() * one.language_model.loss);
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  testing::ExpectClose("gradient", actual, expected,
                       {.absolute = 400 * testing::UnitRoundoff<float>() * largest,
                        .zeros_expected = true,
                        .derivation = "sums of 400 rows in another order"});
}

}  // namespace
}  // namespace sluice
