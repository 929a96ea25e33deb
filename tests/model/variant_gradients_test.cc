// Every attention variant in whole models: gradients against finite differences in double, the fast
// models against the double one, and what a variant must be equal to.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "model_gradients.h"
#include "small_model.h"

namespace sluice {
namespace {

using testing::CheckAgainstDouble;
using testing::CheckAgainstFiniteDifferences;
using testing::MakeEngine;
using testing::RandomBatch;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

struct NamedAttention {
  std::string name;
  AttentionConfig attention;
};

std::vector<NamedAttention> Variants() {
  std::vector<NamedAttention> variants;
  auto add = [&](const std::string& name, const std::string& variant) -> AttentionConfig& {
    variants.push_back({name, {}});
    variants.back().attention.variant = variant;
    return variants.back().attention;
  };
  add("clipped softmax", "clipped_softmax").clipped_softmax = {.gamma = -0.03, .zeta = 1.02};
  add("clipped softmax by alpha", "clipped_softmax").clipped_softmax = {.alpha = 0.5};
  add("sink logit", "learnable_sink").learnable_sink = "logit";
  add("sink token", "learnable_sink").learnable_sink = "token";
  add("softmax plus one", "softmax_plus_one");
  add("relu", "relu");
  for (const std::string source : {"value", "input"}) {
    for (const std::string site : {"query", "key"}) {
      for (const bool slice : {false, true}) {
        add(absl::StrCat(source, " ", site, slice ? " channel slice" : " channel"), "gated")
            .gate = {.source = source,
                     .site = site,
                     .bias = slice,
                     .granularity = "channel",
                     .per_head_slice = slice};
      }
      add(absl::StrCat(source, " ", site, " head slice"), "gated").gate = {
          .source = source,
          .site = site,
          .bias = true,
          .per_head_slice = true,
          .initial_probability = 0.25};
    }
  }
  for (const std::string source : {"value", "input"}) {
    for (const std::string site : {"query", "key"}) {
      add(absl::StrCat(source, " ", site, " perceptron"), "gated").gate = {
          .source = source, .site = site, .predictor = "mlp", .predictor_hidden_size = 3};
    }
  }
  add("perceptron that starts", "gated").gate = {.initial_probability = 0.25,
                                                 .predictor = "mlp",
                                                 .predictor_hidden_size = 5,
                                                 .temperature = 2,
                                                 .layers = {1},
                                                 .scale = "one_at_start"};
  add("free query", "gated").gate = {.predictor = "free_scalar"};
  add("free key", "gated").gate = {.site = "key",
                                   .initial_probability = 0.9,
                                   .predictor = "free_scalar",
                                   .temperature = 0.5,
                                   .scale = "one_at_start"};
  add("temperature", "gated").gate = {.temperature = 0.7, .scale = "2.5"};
  add("temperature channel", "gated").gate = {
      .site = "key", .granularity = "channel", .temperature = 2, .scale = "0.5"};
  add("first layer", "gated").gate = {.source = "input", .layers = {0}};
  add("last layer", "gated").gate = {.bias = true, .granularity = "channel", .layers = {1}};
  return variants;
}

bool HasKinks(const AttentionConfig& attention) {
  return attention.variant == "clipped_softmax" || attention.variant == "relu" ||
         attention.gate.predictor == "mlp";
}

RunConfig With(RunConfig config, const AttentionConfig& attention, int64_t registers) {
  config.model.attention = attention;
  config.model.attention.register_tokens = registers;
  return config;
}

TEST(VariantGradientsTest, BertWithEveryVariantAndMask) {
  for (const NamedAttention& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    CheckAgainstFiniteDifferences(With(SmallBertConfig(), variant.attention, 0),
                                  {.lengths = true, .documents = true}, 0.2);
  }
}

TEST(VariantGradientsTest, OptWithEveryVariantBehindRegisters) {
  for (const NamedAttention& variant : Variants()) {
    SCOPED_TRACE(variant.name);
    CheckAgainstFiniteDifferences(With(SmallDecoderConfig("opt"), variant.attention, 2),
                                  {.lengths = true, .documents = true, .causal = true}, 0.2);
  }
}

TEST(VariantGradientsTest, FastModelsAgreeWithDouble) {
  for (const NamedAttention& variant : Variants()) {
    // Clipping and relu jump: no bound on roundings holds for the gradient there.
    if (HasKinks(variant.attention)) continue;
    SCOPED_TRACE(variant.name);
    CheckAgainstDouble<float>(With(SmallBertConfig(), variant.attention, 3), {.lengths = true});
    RunConfig decoder = With(SmallDecoderConfig("opt"), variant.attention, 0);
    decoder.model.hidden_act = "gelu_tanh";  // without relu's kink
    CheckAgainstDouble<bf16>(decoder, {.documents = true, .causal = true});
  }
}

double LossOf(const RunConfig& config, const RunConfig& weights_of) {
  auto from = MakeEngine(weights_of, DType::kFloat32, 3, 7);
  auto engine = MakeEngine(config, DType::kFloat32, 3, 7);
  const auto& parameters = engine->parameters().parameters();
  for (size_t p = 0; p < parameters.size(); ++p) {
    for (size_t q = 0; q < from->parameters().parameters().size(); ++q) {
      if (from->parameters().parameters()[q].name != parameters[p].name) continue;
      const TensorView source = from->parameters().Master(static_cast<int>(q));
      std::copy_n(source.as<float>(), source.elements(),
                  engine->parameters().Master(static_cast<int>(p)).as<float>());
    }
  }
  CHECK_OK(engine->WeightsLoaded());
  ModelLosses losses;
  EXPECT_TRUE(engine->Evaluate(RandomBatch({}, 5), losses).ok());
  return losses.language_model.loss;
}

// A sink's logit starts at 0, where a learnable sink is softmax plus one; initial weights do not
// depend on the variant, so all of these start from the same model.
TEST(VariantGradientsTest, SinkLogitStartsAsSoftmaxPlusOne) {
  RunConfig logit = SmallBertConfig(), plus_one = SmallBertConfig();
  logit.model.attention.variant = "learnable_sink";
  plus_one.model.attention.variant = "softmax_plus_one";
  const double with_sink = LossOf(logit, plus_one);
  EXPECT_EQ(with_sink, LossOf(plus_one, plus_one));
  EXPECT_NE(with_sink, LossOf(SmallBertConfig(), SmallBertConfig()));
}

TEST(VariantGradientsTest, UnclippedIsVanilla) {
  RunConfig clipped = SmallBertConfig();
  clipped.model.attention.variant = "clipped_softmax";
  clipped.model.attention.clipped_softmax = {.gamma = 0, .zeta = 1};
  EXPECT_EQ(LossOf(clipped, clipped), LossOf(SmallBertConfig(), SmallBertConfig()));
}

// A register is one more place to look at: the model with it is another one.
TEST(VariantGradientsTest, RegistersAreSeen) {
  const RunConfig with = With(SmallBertConfig(), {}, 2);
  EXPECT_NE(LossOf(with, with), LossOf(SmallBertConfig(), SmallBertConfig()));
}

}  // namespace
}  // namespace sluice
