#include "optim/adamw.h"

#include <cmath>

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(OptimizerTest, DecayGoesByName) {
  const OptimizerConfig config;  // the recipe's rules
  EXPECT_TRUE(Decays(config, "bert.embeddings.word_embeddings.weight"));
  EXPECT_TRUE(Decays(config, "bert.encoder.layer.0.attention.self.gate.weight"));
  EXPECT_FALSE(Decays(config, "bert.encoder.layer.0.attention.self.gate.bias"));
  EXPECT_FALSE(Decays(config, "bert.embeddings.LayerNorm.weight"));
  EXPECT_FALSE(Decays(config, "cls.predictions.bias"));
}

TEST(OptimizerTest, UpdatesFollowTheFormulaAndDecayWhereTheyShould) {
  const auto device = Device::OpenCpu();
  ExecutionContext context(*device);
  Arena arena;
  ParameterStore parameters;
  const int decays = parameters.Add("dense.weight", {2, 3}, {});
  const int plain = parameters.Add("dense.bias", {3}, {});
  parameters.Plan(arena, DType::kFloat32, /*train=*/true);
  OptimizerConfig config;
  config.weight_decay = 0.1;
  AdamWOptimizer optimizer(config, parameters, context, arena);
  ASSERT_TRUE(arena.Allocate(ArenaFill::kZero, *device).ok());
  ASSERT_TRUE(optimizer.Bind(context).ok());
  for (int index : {decays, plain}) {
    for (int64_t i = 0; i < parameters.Master(index).elements(); ++i) {
      parameters.Master(index).as<float>()[i] = 1;
      parameters.Gradient(index).as<float>()[i] = 4;
    }
  }
  ASSERT_TRUE(optimizer.Update(context, parameters, 0.01, 0.5).ok());
  // First update: m̂ = g, v̂ = g², so a step of lr · g / (|g| + eps), and lr · decay · w where it
  // decays.
  EXPECT_NEAR(parameters.Master(decays).as<float>()[5], 1 - 0.01 - 0.01 * 0.1, 1e-7);
  EXPECT_NEAR(parameters.Master(plain).as<float>()[0], 1 - 0.01, 1e-7);
  EXPECT_EQ(parameters.Gradient(plain).as<float>()[0], 0);
  EXPECT_NEAR(AdamWOptimizer::SliceOf(optimizer.first_moment(), parameters.parameters()[plain])
                  .as<float>()[2],
              0.1 * 2, 1e-7);
  EXPECT_EQ(optimizer.updates(), 1);
}

TEST(OptimizerTest, ClippingIsTorchs) {
  EXPECT_EQ(ClippingCoefficient(0.5, 1), 1);
  EXPECT_DOUBLE_EQ(ClippingCoefficient(4, 1), 1 / (4 + 1e-6));
  EXPECT_EQ(ClippingCoefficient(400, 0), 1);
}

}  // namespace
}  // namespace sluice
