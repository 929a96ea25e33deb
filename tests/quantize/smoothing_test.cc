#include "quantize/smoothing.h"

#include <cmath>

#include "gmock/gmock.h"
#include "model/small_model.h"
#include "support/compare.h"
#include "train/post_training_quantization.h"

namespace sluice {
namespace {

using testing::MakeEngine;
using testing::RandomBatch;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

double Loss(Engine& engine, const Batch& batch, Observer* observer = nullptr) {
  ModelLosses losses;
  EXPECT_TRUE(engine.Evaluate(batch, losses, observer).ok());
  return losses.language_model.loss / static_cast<double>(losses.language_model.targets);
}

// A channel of every norm that stands out.
void Sharpen(Engine& engine) {
  const std::vector<Parameter>& parameters = engine.parameters().parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].name.find("norm.weight") == std::string::npos) continue;
    engine.parameters().Master(i).as<float>()[3] *= 40;
  }
  CHECK_OK(engine.WeightsLoaded());
}

std::vector<RunConfig> Models() {
  std::vector<RunConfig> models = {SmallDecoderConfig("opt"),
                                   SmallDecoderConfig("bigram_backcopy")};
  for (const bool slice : {false, true}) {
    for (const char* granularity : {"head", "channel"}) {
      RunConfig config = SmallDecoderConfig("opt", "gated");
      config.model.attention.gate.source = "input";
      config.model.attention.gate.granularity = granularity;
      config.model.attention.gate.per_head_slice = slice;
      models.push_back(config);
    }
  }
  for (const char* predictor : {"mlp", "free_scalar"}) {
    RunConfig config = SmallDecoderConfig("opt", "gated");
    config.model.attention.gate.source = "input";
    config.model.attention.gate.predictor = predictor;
    config.model.attention.gate.predictor_hidden_size = 5;
    config.model.attention.gate.layers = {1};
    models.push_back(config);
  }
  return models;
}

TEST(SmoothingTest, TheModelStaysTheSameFunction) {
  for (const RunConfig& config : Models()) {
    const auto engine = MakeEngine(config, DType::kFloat32, 3, 7);
    Sharpen(*engine);
    const std::vector<Batch> batches = {RandomBatch({.causal = true}, 5)};
    const double before = Loss(*engine, batches[0]);
    ChannelMaxima maxima_before;
    Loss(*engine, batches[0], &maxima_before);
    ASSERT_TRUE(SmoothModel(*engine, batches, 0.5).ok());
    // Each product of the layers that were changed has three more roundings.
    EXPECT_NEAR(Loss(*engine, batches[0]), before, 1e-4 * before);
    ChannelMaxima maxima;
    Loss(*engine, batches[0], &maxima);
    const std::vector<float>& x = maxima.At(0, "attention.norm");
    const std::vector<float>& x_before = maxima_before.At(0, "attention.norm");
    EXPECT_LT(x[3], x_before[3] / 2);
    // The last norm is the head's, which is not quantized.
    EXPECT_NEAR(maxima.At(1, "feed_forward.norm")[3] / maxima_before.At(1, "feed_forward.norm")[3],
                1, 1e-4);
  }
}

// s = sqrt(max |x| / max |w|) makes both sides of every channel alike: sqrt(max |x| · max |w|).
TEST(SmoothingTest, HalfMakesBothSidesAlike) {
  const auto engine = MakeEngine(SmallDecoderConfig("opt"), DType::kFloat32, 3, 7);
  Sharpen(*engine);
  const std::vector<Batch> batches = {RandomBatch({.causal = true}, 5)};
  ASSERT_TRUE(SmoothModel(*engine, batches, 0.5).ok());
  ChannelMaxima maxima;
  Loss(*engine, batches[0], &maxima);
  const std::vector<Parameter>& parameters = engine->parameters().parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].name != "model.decoder.layers.0.fc1.weight") continue;
    const TensorView weight = engine->parameters().Master(i);
    for (int64_t c = 0; c < weight.dim(-1); ++c) {
      float largest = 0;
      for (int64_t row = 0; row < weight.rows(); ++row) {
        largest = std::max(largest, std::abs(weight.as<float>()[row * weight.dim(-1) + c]));
      }
      EXPECT_NEAR(maxima.At(0, "attention.norm")[c], largest, 1e-4 * largest);
    }
    return;
  }
  FAIL() << "no fc1";
}

TEST(SmoothingTest, HelpsWhereAChannelStandsOut) {
  const auto engine = MakeEngine(SmallDecoderConfig("opt"), DType::kFloat32, 3, 7);
  Sharpen(*engine);
  const std::vector<Batch> batches = {RandomBatch({.causal = true}, 5)};
  const double exact = Loss(*engine, batches[0]);
  PostTrainingQuantizationOptions options;
  options.weights.bits = 8;
  options.activations.bits = 6;
  const auto gap = [&] {
    auto quantized = PostTrainingQuantization::Apply(*engine, batches, options);
    EXPECT_TRUE(quantized.ok());
    const double loss = Loss(*engine, batches[0], &(*quantized)->activations());
    EXPECT_TRUE((*quantized)->Remove().ok());
    return std::abs(loss - exact);
  };
  const double before = gap();
  ASSERT_TRUE(SmoothModel(*engine, batches, 0.5).ok());
  EXPECT_LT(gap(), before);
}

TEST(SmoothingTest, PostLnIsRefused) {
  const auto engine = MakeEngine(SmallBertConfig(), DType::kFloat32, 3, 7);
  const absl::Status status = SmoothModel(*engine, {}, 0.5);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("needs a pre-LN model"));
}

}  // namespace
}  // namespace sluice
