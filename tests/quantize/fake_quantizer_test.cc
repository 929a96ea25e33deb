#include "quantize/fake_quantizer.h"

#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "gmock/gmock.h"
#include "model/small_model.h"
#include "quantize/quantized_model.h"
#include "support/compare.h"
#include "train/post_training_quantization.h"

namespace sluice {
namespace {

using testing::Loss;
using testing::MakeEngine;
using testing::Model;
using testing::Models;
using testing::RandomBatch;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

std::unique_ptr<PostTrainingQuantization> Quantize(Engine& engine,
                                                   const std::vector<Batch>& batches,
                                                   const PostTrainingQuantizationOptions& options) {
  auto quantized = PostTrainingQuantization::Apply(engine, batches, options);
  EXPECT_TRUE(quantized.ok()) << quantized.status();
  return *std::move(quantized);
}

PostTrainingQuantizationOptions Bits(int weights, int activations) {
  PostTrainingQuantizationOptions options;
  options.weights.bits = weights;
  options.activations.bits = activations;
  return options;
}

TEST(FakeQuantizerTest, ThirteenALayerInOrder) {
  const std::vector<std::string> layer = {
      "attention.query",        "attention.key",           "attention.value",
      "attention.scores",       "attention.probabilities", "attention.context",
      "attention.output",       "attention.residual_sum",  "attention.norm",
      "feed_forward.activated", "feed_forward.output",     "feed_forward.residual_sum",
      "feed_forward.norm"};
  for (const bool causal : {false, true}) {
    const auto engine =
        MakeEngine(causal ? SmallDecoderConfig("opt") : SmallBertConfig(), DType::kFloat32, 3, 7);
    const std::vector<Batch> batches = {RandomBatch({.causal = causal}, 5)};
    const auto quantized = Quantize(*engine, batches, Bits(32, 8));
    std::vector<std::string> expected;
    if (!causal) expected.push_back("-1 embedding.token_and_segment");
    expected.push_back("-1 embedding.sum");
    expected.push_back("-1 embedding.norm");
    for (const char* number : {"0 ", "1 "}) {
      for (const std::string& name : layer) expected.push_back(number + name);
    }
    std::vector<std::string> got;
    for (const QuantizationError& error : quantized->activation_errors()) {
      got.push_back(std::to_string(error.layer) + " " + error.tensor);
    }
    EXPECT_EQ(got, expected);
  }
}

// With 16 bits of everything the model is nearly itself, so that every variant's steps are its
// attention; and with its weights back, itself to the bit.
TEST(FakeQuantizerTest, SixteenBitsAreNearlyTheModel) {
  for (const Model& model : Models()) {
    SCOPED_TRACE(model.name);
    const auto engine = MakeEngine(model.config, DType::kFloat32, 3, 7);
    const Batch batch = RandomBatch(model.batch, 5);
    const double before = Loss(*engine, batch, nullptr);
    const auto quantized = Quantize(*engine, {batch}, Bits(16, 16));
    const double after = Loss(*engine, batch, &quantized->activations());
    // Steps of 2^-16 of a range move a tensor by 1e-5 of itself; some thirty of them on the way.
    EXPECT_NEAR(after, before, 1e-3 * before);
    EXPECT_NE(after, before);
    ASSERT_TRUE(quantized->Remove().ok());
    EXPECT_EQ(Loss(*engine, batch, nullptr), before);
  }
}

TEST(FakeQuantizerTest, ThirtyTwoBitsLeaveTheModelAlone) {
  const auto engine = MakeEngine(SmallBertConfig(), DType::kFloat32, 3, 7);
  const Batch batch = RandomBatch({}, 5);
  const double before = Loss(*engine, batch, nullptr);
  const auto quantized = Quantize(*engine, {batch}, Bits(32, 32));
  // The embeddings are summed in another order.
  EXPECT_NEAR(Loss(*engine, batch, &quantized->activations()), before, 1e-5 * before);
  EXPECT_TRUE(quantized->activation_errors().empty());
  EXPECT_TRUE(quantized->weight_errors().empty());
}

// Calibration quantizes as it goes: with one batch, what it computes is what comes after Freeze.
TEST(FakeQuantizerTest, CalibrationQuantizesAsItGoes) {
  const auto engine = MakeEngine(SmallDecoderConfig("opt", "gated"), DType::kFloat32, 3, 7);
  const Batch batch = RandomBatch({.causal = true}, 5);
  FakeQuantizer quantizer({.bits = 6, .quantize_weights = false, .context_before_gate = true}, {});
  const double calibrating = Loss(*engine, batch, &quantizer);
  ASSERT_TRUE(quantizer.Freeze().ok());
  EXPECT_EQ(Loss(*engine, batch, &quantizer), calibrating);
  // Another batch moves the ranges only before that.
  const Batch other = RandomBatch({.causal = true}, 6);
  Loss(*engine, other, &quantizer);
  EXPECT_EQ(Loss(*engine, batch, &quantizer), calibrating);
}

TEST(FakeQuantizerTest, CalibrationThatIsNotFiniteIsDivergence) {
  const auto engine = MakeEngine(SmallDecoderConfig("opt", "gated"), DType::kFloat32, 3, 7);
  engine->parameters().flat_master().as<float>()[0] = std::nan("");
  FakeQuantizer quantizer({.bits = 6, .quantize_weights = false, .context_before_gate = true}, {});
  (void)engine->WeightsLoaded();
  Loss(*engine, RandomBatch({.causal = true}, 5), &quantizer);
  EXPECT_EQ(ExitCodeOf(quantizer.Freeze()), ExitCode::kDiverged);
}

// What a pass goes on with.
class Recorder : public Observer {
 public:
  bool Wants(absl::string_view) const override { return true; }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
    std::set<float>& values = distinct[std::to_string(layer) + " " + std::string(tensor)];
    for (int64_t row = 0; row < view.rows(); ++row) {
      const float* x = view.as<float>() + row * view.row_stride();
      values.insert(x, x + view.dim(-1));
    }
  }
  std::map<std::string, std::set<float>> distinct;
};

TEST(FakeQuantizerTest, TensorsAreOnGridsAndTheGateIsNot) {
  for (const bool causal : {false, true}) {
    const auto engine =
        MakeEngine(causal ? SmallDecoderConfig("opt", "gated") : SmallBertConfig("gated"),
                   DType::kFloat32, 3, 7);
    const Batch batch = RandomBatch({.causal = causal}, 5);
    const auto quantized = Quantize(*engine, {batch}, Bits(3, 3));
    Recorder recorder;
    ObserverChain both(quantized->activations(), recorder);
    Loss(*engine, batch, &both);
    for (const auto& [name, values] : recorder.distinct) {
      const bool query_key_value = name.find("qkv") != std::string::npos;
      const bool gate = name.find("gate") != std::string::npos;
      // OPT's context is quantized before its gate, BERT's behind it.
      const bool gated_context = causal && name.find("context") != std::string::npos;
      SCOPED_TRACE(name);
      if (gate || gated_context) {
        EXPECT_GT(values.size(), 24);
      } else {
        EXPECT_LE(values.size(), query_key_value ? 24 : 8);
        EXPECT_GT(values.size(), 2);
      }
    }
  }
}

// Everything has 3 bits but the LayerNorms that are named.
TEST(FakeQuantizerTest, SixteenBitsForLayerNorms) {
  for (const bool causal : {false, true}) {
    const auto engine =
        MakeEngine(causal ? SmallDecoderConfig("opt") : SmallBertConfig(), DType::kFloat32, 3, 7);
    const Batch batch = RandomBatch({.causal = causal}, 5);
    const std::set<std::string> last = {"1 feed_forward.norm"};
    const std::set<std::string> all = {"-1 embedding.norm", "0 attention.norm",
                                       "0 feed_forward.norm", "1 attention.norm",
                                       "1 feed_forward.norm"};
    for (const auto& [norms, wide] : {std::pair{SixteenBitNorms::kNone, std::set<std::string>()},
                                      {SixteenBitNorms::kFinal, last},
                                      {SixteenBitNorms::kAll, all}}) {
      PostTrainingQuantizationOptions options = Bits(3, 3);
      options.activations.sixteen_bit_norms = norms;
      const auto quantized = Quantize(*engine, {batch}, options);
      Recorder recorder;
      ObserverChain both(quantized->activations(), recorder);
      Loss(*engine, batch, &both);
      std::set<std::string> found;
      for (const auto& [name, values] : recorder.distinct) {
        if (values.size() > 24) found.insert(name);  // query, key and value have 8 each
      }
      EXPECT_EQ(found, wide);
      // Of gammas the same, by what quantization took away: a norm's weights are all 1.
      for (const QuantizationError& error : quantized->weight_errors()) {
        if (error.tensor.find("orm.weight") == std::string::npos) continue;
        const bool is_last =
            error.tensor.find(causal ? "decoder.final_layer_norm" : "layer.1.output.LayerNorm") !=
            std::string::npos;
        const bool sixteen =
            norms == SixteenBitNorms::kAll || (norms == SixteenBitNorms::kFinal && is_last);
        EXPECT_NEAR(error.scale, 1.0 / (sixteen ? 65535 : 7), 1e-7) << error.tensor;
      }
      ASSERT_TRUE(quantized->Remove().ok());
    }
  }
}

TEST(FakeQuantizerTest, AGateReadsTheValuesItIsToldTo) {
  const auto engine = MakeEngine(SmallBertConfig("gated"), DType::kFloat32, 3, 7);
  const Batch batch = RandomBatch({}, 5);
  Recorder plain;
  Loss(*engine, batch, &plain);
  std::map<bool, std::set<float>> gates;
  for (const bool quantized_value : {false, true}) {
    PostTrainingQuantizationOptions options = Bits(32, 4);
    options.activations.gate_reads_quantized_value = quantized_value;
    const auto quantized = Quantize(*engine, {batch}, options);
    Recorder recorder;
    ObserverChain both(quantized->activations(), recorder);
    Loss(*engine, batch, &both);
    gates[quantized_value] = recorder.distinct.at("0 gate");
    EXPECT_EQ(recorder.distinct.at("0 attention.qkv").size() > 48, !quantized_value);
  }
  EXPECT_NE(gates[false], gates[true]);
}

TEST(FakeQuantizerTest, FewerBitsLoseMore) {
  const auto engine = MakeEngine(SmallBertConfig(), DType::kFloat32, 3, 7);
  const Batch batch = RandomBatch({}, 5);
  std::map<std::string, double> last;
  for (const int bits : {4, 8, 12}) {
    const auto quantized = Quantize(*engine, {batch}, Bits(32, bits));
    Loss(*engine, batch, &quantized->activations());
    for (const QuantizationError& error : quantized->activation_errors()) {
      const std::string name = std::to_string(error.layer) + error.tensor;
      // 6 dB a bit.
      if (last.contains(name)) {
        EXPECT_GT(error.SqnrDecibels(), last[name] + 12) << name;
      }
      last[name] = error.SqnrDecibels();
    }
  }
}

TEST(PostTrainingQuantizationTest, ProjectedEmbeddingsAreRefused) {
  RunConfig config = SmallDecoderConfig("opt");
  config.model.word_embed_proj_dim = 16;
  const auto engine = MakeEngine(config, DType::kFloat32, 3, 7);
  const std::vector<Batch> batches = {RandomBatch({.causal = true}, 5)};
  const auto quantized = PostTrainingQuantization::Apply(*engine, batches, Bits(8, 8));
  EXPECT_THAT(std::string(quantized.status().message()),
              ::testing::HasSubstr("projected embeddings is not defined"));
}

}  // namespace
}  // namespace sluice
