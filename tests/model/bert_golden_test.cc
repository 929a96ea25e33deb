// A whole model against PyTorch and transformers: loss, logits and every gradient of BERT-tiny in
// fp32, for every gate. tests/golden/make_goldens.py wrote the goldens.
#include <cmath>

#include "small_model.h"
#include "support/compare.h"
#include "support/golden_file.h"

namespace sluice {
namespace {

using testing::GoldenArray;
using testing::GoldenFile;

struct Case {
  const char* file;
  const char* variant;
  const char* source;
  const char* site;
};

class BertGoldenTest : public ::testing::TestWithParam<Case> {};

std::vector<int32_t> Int32(const GoldenArray& array) {
  return {array.integers.begin(), array.integers.end()};
}

TEST_P(BertGoldenTest, LossLogitsAndGradientsEqualPyTorchs) {
  const auto golden =
      testing::ReadGolden(std::string("tests/golden/bert_tiny_") + GetParam().file + ".golden");
  ASSERT_TRUE(golden.ok()) << golden.status();
  RunConfig config;
  config.model.vocab_size = golden->At("weight/bert.embeddings.word_embeddings.weight").shape[0];
  config.model.hidden_size = golden->At("weight/bert.embeddings.word_embeddings.weight").shape[1];
  config.model.num_hidden_layers = std::stoi(golden->metadata.at("layers"));
  config.model.num_attention_heads = std::stoi(golden->metadata.at("heads"));
  config.model.intermediate_size =
      golden->At("weight/bert.encoder.layer.0.intermediate.dense.bias").shape[0];
  config.model.max_position_embeddings =
      golden->At("weight/bert.embeddings.position_embeddings.weight").shape[0];
  config.model.hidden_dropout_prob = config.model.attention_probs_dropout_prob = 0;
  config.model.attention.variant = GetParam().variant;
  config.model.attention.gate = {GetParam().source, GetParam().site, /*bias=*/true};

  const GoldenArray& ids = golden->At("input_ids");
  Batch batch;
  batch.B = ids.shape[0];
  batch.T = ids.shape[1];
  batch.tokens = Int32(ids);
  batch.segments = Int32(golden->At("token_type_ids"));
  batch.lengths = Int32(golden->At("lengths"));
  batch.target_positions = Int32(golden->At("masked_positions"));
  batch.targets = Int32(golden->At("targets"));
  for (int64_t b = 0; b < batch.B; ++b) batch.sample_index.push_back(b);

  auto engine = testing::MakeEngine(config, DType::kFloat32, batch.B, batch.T);
  const auto& parameters = engine->parameters().parameters();
  size_t weights = 0;
  for (const auto& [name, array] : golden->arrays) weights += name.starts_with("weight/");
  ASSERT_EQ(parameters.size(), weights);
  for (size_t p = 0; p < parameters.size(); ++p) {
    const GoldenArray& weight = golden->At("weight/" + parameters[p].name);
    ASSERT_EQ(weight.size(), parameters[p].elements()) << parameters[p].name;
    std::copy(weight.floats.begin(), weight.floats.end(),
              engine->parameters().Master(p).as<float>());
  }
  engine->WeightsLoaded();

  // Both sides round each of some 80 operations on the way (2 layers, about 40 each) to fp32;
  // independent roundings add like sqrt(80) ≈ 9, six standard deviations of the difference of two
  // sides: 6 · sqrt(2) · 9 ≈ 76 u of the largest value.
  const double share = 76 * testing::UnitRoundoff<float>();
  const auto logits = engine->model().Predict(engine->context(), batch, batch.target_positions);
  ASSERT_TRUE(logits.ok()) << logits.status();
  const std::vector<float>& expected_logits = golden->At("logits").floats;
  double largest = 0;
  for (float value : expected_logits) largest = std::max<double>(largest, std::abs(value));
  testing::ExpectClose(
      "logits", std::vector<float>(logits->as<float>(), logits->as<float>() + logits->elements()),
      expected_logits, {.absolute = share * largest, .derivation = "76 u of the largest logit"});

  ModelLosses losses;
  ASSERT_TRUE(engine->ForwardBackward(batch, {.train = true}, losses).ok());
  const auto targets = static_cast<double>(losses.language_model.targets);
  EXPECT_NEAR(losses.language_model.loss / targets, golden->At("loss").floats[0],
              share * golden->At("loss").floats[0]);
  for (size_t p = 0; p < parameters.size(); ++p) {
    const std::vector<float>& expected = golden->At("gradient/" + parameters[p].name).floats;
    const float* sum = engine->parameters().Gradient(p).as<float>();
    std::vector<double> actual(expected.size());
    double largest_gradient = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      actual[i] = sum[i] / targets;
      largest_gradient = std::max<double>(largest_gradient, std::abs(expected[i]));
    }
    // A gradient that is zero in exact arithmetic (key biases: softmax ignores them) is the
    // roundoff of its terms.
    testing::ExpectClose(parameters[p].name, actual, expected,
                         {.absolute = share * std::max(largest_gradient, 1e-2),
                          .zeros_expected = true,
                          .derivation = "76 u of the largest gradient of the parameter"});
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, BertGoldenTest,
                         ::testing::Values(Case{"vanilla", "vanilla", "value", "query"},
                                           Case{"vga_query", "gated", "value", "query"},
                                           Case{"vga_key", "gated", "value", "key"},
                                           Case{"iga_query", "gated", "input", "query"},
                                           Case{"iga_key", "gated", "input", "key"}),
                         [](const auto& instance) { return instance.param.file; });

}  // namespace
}  // namespace sluice
