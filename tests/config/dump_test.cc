#include "config/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <random>

#include "config/fields.h"
#include "config/load.h"
#include "temporary_folder.h"

namespace sluice {
namespace {

using testing::HasSubstr;
using testing::Not;

RunConfig Valid() {
  RunConfig config;
  config.name = "run";
  config.data.train = "data/train";
  return config;
}

void ExpectSurvivesDump(const RunConfig& config) {
  TemporaryFolder folder;
  const std::string text = DumpRunConfig(config);
  const absl::StatusOr<RunConfig> back = LoadRunConfig(folder.Write("config.yaml", text));
  ASSERT_TRUE(back.ok()) << back.status() << "\n" << text;
  EXPECT_TRUE(*back == config) << text << "became\n" << DumpRunConfig(*back);
}

TEST(DumpTest, WritesEveryKeyThatIsRead) {
  RunConfig config = Valid();
  config.model.attention.variant = "gated";
  const std::string text = DumpRunConfig(config);
  for (const Field& field : FieldTable()) {
    if (!IsRead(field, config)) continue;
    const std::string last = field.key.substr(field.key.rfind('.') + 1);
    EXPECT_THAT(text, HasSubstr(last + ": ")) << field.key;
  }
  EXPECT_THAT(text, HasSubstr("name: run\nmodel:\n  architecture: bert\n"));
  EXPECT_THAT(text, HasSubstr("  attention:\n    variant: gated\n    gate:\n      source: value\n"
                              "      site: query\n      bias: false\n      granularity: head\n     "
                              " per_head_slice: false\n"
                              "      initial_probability: 0.0\n      predictor: linear\n"
                              "      temperature: 1.0\n      layers: []\n      scale: \"1\"\n"
                              "      initializer_range: 0.0\n    register_tokens: "
                              "0\ndata:\n  source: shards\n  train: data/train\n"));
  EXPECT_THAT(text, HasSubstr("  no_decay: [bias, LayerNorm.weight]\n"));
  EXPECT_THAT(text, Not(HasSubstr("validation_sequences:")));
  config.model.attention.variant = "vanilla";
  EXPECT_THAT(DumpRunConfig(config), Not(HasSubstr("gate:")));
}

TEST(DumpTest, DefaultsSurvive) {
  ExpectSurvivesDump(Valid());
  RunConfig gated = Valid();
  gated.model.attention.variant = "gated";
  gated.model.attention.gate = {.source = "input",
                                .site = "key",
                                .bias = true,
                                .granularity = "channel",
                                .per_head_slice = true,
                                .initial_probability = 0.25};
  gated.model.attention.register_tokens = 4;
  ExpectSurvivesDump(gated);
  gated.model.attention.gate.temperature = 0.7;
  gated.model.attention.gate.layers = {0, 11};
  gated.model.attention.gate.scale = "one_at_start";
  gated.model.attention.gate.initializer_range = 0.01;
  ExpectSurvivesDump(gated);
  gated.model.attention.gate = {.source = "input", .predictor = "mlp", .predictor_hidden_size = 4};
  gated.model.attention.gate.scale = "2.5";
  ExpectSurvivesDump(gated);
  gated.model.attention.gate = {.initial_probability = 0.9, .predictor = "free_scalar"};
  ExpectSurvivesDump(gated);
  RunConfig clipped = Valid();
  clipped.model.attention.variant = "clipped_softmax";
  clipped.model.attention.clipped_softmax = {.gamma = -0.02, .zeta = 1.003, .alpha = 0};
  ExpectSurvivesDump(clipped);
  RunConfig sink = Valid();
  sink.model.attention.variant = "learnable_sink";
  sink.model.attention.learnable_sink = "token";
  ExpectSurvivesDump(sink);
  RunConfig constant = Valid();
  constant.schedule.shape = "constant";
  ExpectSurvivesDump(constant);
}

TEST(DumpTest, TextsThatYamlWouldTwistSurvive) {
  for (const char* text :
       {"null",   "~",        "true", "No",  "1e5", "0x10", " lead",    "trail ", "a: b",
        "a #b",   "#a",       "-",    "- a", "[a]", "{a}",  "it's",     "\"",     "\\",
        "a\\x07", "*a",       "&a",   "!a",  "%a",  "@a",   "`a",       "|",      ">",
        "a,b",    "ä/ö/日本", "=",    "<<",  "---", "...",  "a/b.yaml", "../x",   "y"}) {
    RunConfig config = Valid();
    config.data.train = text;
    config.data.validation = {text, "plain", text};
    ExpectSurvivesDump(config);
  }
}

TEST(DumpTest, NumbersKeepTheirBits) {
  constexpr uint64_t kSeed = 7;
  std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
  std::mt19937_64 random(kSeed);
  std::uniform_real_distribution<double> exponent(-300, 0);
  for (int i = 0; i < 200; ++i) {
    RunConfig config = Valid();
    config.optimizer.learning_rate = std::pow(10.0, exponent(random));
    config.optimizer.eps = std::pow(10.0, exponent(random));
    config.optimizer.beta2 = std::bit_cast<double>(std::bit_cast<uint64_t>(1.0) - 1 - i);
    config.training.seed = random();
    ExpectSurvivesDump(config);
  }
  RunConfig config = Valid();
  config.optimizer.weight_decay = 5e-324;  // the smallest double
  config.training.seed = ~uint64_t{0};
  ExpectSurvivesDump(config);
}

TEST(ConfigDifferenceTest, ListsKeysInOrder) {
  const RunConfig a = Valid();
  EXPECT_TRUE(ConfigDifference(a, a).empty());
  RunConfig b = a;
  b.training.seed = 2;
  b.optimizer.learning_rate = 1e-3;
  b.model.attention.variant = "gated";
  b.data.validation = {"x y"};
  const std::vector<KeyDifference> differences = ConfigDifference(a, b);
  ASSERT_EQ(differences.size(), 4u);
  EXPECT_EQ(differences[0].key, "model.attention.variant");
  EXPECT_EQ(differences[0].a, "vanilla");
  EXPECT_EQ(differences[0].b, "gated");
  EXPECT_EQ(differences[1].key, "data.validation");
  EXPECT_EQ(differences[1].a, "[]");
  EXPECT_EQ(differences[1].b, "[\"x y\"]");
  EXPECT_EQ(differences[2].key, "optimizer.learning_rate");
  EXPECT_EQ(differences[2].a, "0.0001");
  EXPECT_EQ(differences[2].b, "0.001");
  EXPECT_EQ(differences[3].key, "training.seed");
}

TEST(ConfigDifferenceTest, SeesOneUlpAndSkipsWhatNobodyReads) {
  RunConfig a = Valid();
  RunConfig b = a;
  b.optimizer.learning_rate = std::nextafter(a.optimizer.learning_rate, 1.0);
  b.model.attention.gate.source = "input";  // both vanilla
  const std::vector<KeyDifference> differences = ConfigDifference(a, b);
  ASSERT_EQ(differences.size(), 1u);
  EXPECT_EQ(differences[0].key, "optimizer.learning_rate");
  b.model.attention.variant = "gated";
  EXPECT_EQ(ConfigDifference(a, b).size(), 3u);
}

}  // namespace
}  // namespace sluice
