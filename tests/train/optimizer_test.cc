#include "optim/optimizer.h"

#include <cmath>
#include <memory>

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

// A weight that decays and one that does not, all 1, with gradients of 4.
class OptimizerUpdateTest : public ::testing::Test {
 protected:
  void Make(const OptimizerConfig& config) {
    parameters_.Plan(arena_, DType::kFloat32, /*train=*/true);
    optimizer_ = MakeOptimizer(config, parameters_, context_, arena_);
    ASSERT_TRUE(arena_.Allocate(ArenaFill::kZero, *device_).ok());
    ASSERT_TRUE(optimizer_->Bind(context_).ok());
    for (int index : {decays_, plain_}) {
      for (int64_t i = 0; i < parameters_.Master(index).elements(); ++i) Master(index)[i] = 1;
    }
    SetGradients(4);
  }
  void SetGradients(float value) {
    for (int index : {decays_, plain_}) {
      for (int64_t i = 0; i < parameters_.Master(index).elements(); ++i) Gradient(index)[i] = value;
    }
  }
  float* Master(int index) { return parameters_.Master(index).as<float>(); }
  float* Gradient(int index) { return parameters_.Gradient(index).as<float>(); }
  float Moment(int moment, int index, int64_t i) {
    return Optimizer::SliceOf(*optimizer_->moments()[moment].values,
                              parameters_.parameters()[index])
        .as<float>()[i];
  }

  std::unique_ptr<Device> device_ = Device::OpenCpu();
  ExecutionContext context_{*device_};
  Arena arena_;
  ParameterStore parameters_;
  const int decays_ = parameters_.Add("dense.weight", {2, 3}, {});
  const int plain_ = parameters_.Add("dense.bias", {3}, {});
  std::unique_ptr<Optimizer> optimizer_;
};

TEST_F(OptimizerUpdateTest, AdamWFollowsTheFormulaAndDecaysWhereItShould) {
  OptimizerConfig config;
  config.weight_decay = 0.1;
  Make(config);
  ASSERT_TRUE(optimizer_->Update(context_, parameters_, 0.01, 0.5).ok());
  // First update: m̂ = g, v̂ = g², so a step of lr · g / (|g| + eps), and lr · decay · w where it
  // decays.
  EXPECT_NEAR(Master(decays_)[5], 1 - 0.01 - 0.01 * 0.1, 1e-7);
  EXPECT_NEAR(Master(plain_)[0], 1 - 0.01, 1e-7);
  EXPECT_EQ(Gradient(plain_)[0], 0);
  ASSERT_EQ(optimizer_->moments().size(), 2);
  EXPECT_EQ(optimizer_->moments()[0].name, "m");
  EXPECT_NEAR(Moment(0, plain_, 2), 0.1 * 2, 1e-7);
  EXPECT_EQ(optimizer_->updates(), 1);
}

// Clipped to a norm of 3: nine gradients of 4 · 0.5 have 6, so each becomes 1.
TEST_F(OptimizerUpdateTest, SgdKeepsMomentumAndDecaysBehindClipping) {
  OptimizerConfig config;
  config.name = "sgd";
  config.momentum = 0.5;
  config.weight_decay = 0.1;
  config.max_grad_norm = 3;
  Make(config);
  const double loss = 1;
  UpdateDecision decision;
  const auto update = [&] {
    return optimizer_->ClipAndUpdate(
        context_, parameters_,
        {.learning_rate = 0.01, .gradient_scale = 0.5, .loss = &loss, .decision = &decision});
  };
  ASSERT_TRUE(update().ok());
  EXPECT_NEAR(decision.gradient_norm, 6, 1e-6);
  EXPECT_NEAR(Master(plain_)[1], 1 - 0.01 * 1, 1e-6);
  EXPECT_NEAR(Master(decays_)[1], 1 - 0.01 * 1.1, 1e-6);
  SetGradients(0);
  ASSERT_TRUE(update().ok());
  EXPECT_NEAR(Master(plain_)[1], 1 - 0.01 * 1 - 0.01 * 0.5, 1e-6);
  EXPECT_NEAR(Master(decays_)[1], 0.989 - 0.01 * (0.5 * 1.1 + 0.0989), 1e-6);
  ASSERT_EQ(optimizer_->moments().size(), 1);
  EXPECT_NEAR(Moment(0, plain_, 2), 0.5, 1e-6);
  SetGradients(INFINITY);
  ASSERT_TRUE(update().ok());
  EXPECT_EQ(decision.skip, 1);
  EXPECT_NEAR(Master(plain_)[1], 0.985, 1e-6);
}

TEST(OptimizerTest, ClippingIsTorchs) {
  EXPECT_EQ(ClippingCoefficient(0.5, 1), 1);
  EXPECT_DOUBLE_EQ(ClippingCoefficient(4, 1), 1 / (4 + 1e-6));
  EXPECT_EQ(ClippingCoefficient(400, 0), 1);
}

}  // namespace
}  // namespace sluice
