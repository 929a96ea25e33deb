// Sizes, names and initial values of the models.
#include "model/architecture.h"

#include <cmath>
#include <map>

#include "gtest/gtest.h"
#include "small_model.h"

namespace sluice {
namespace {

using testing::MakeEngine;
using testing::SmallDecoderConfig;

std::unique_ptr<Engine> Planned(const ModelConfig& model) {
  RunConfig config;
  config.model = model;
  auto engine = Engine::Create(
      config, {.dtype = DType::kBFloat16, .max_batch = 1, .length = 8, .train = false});
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

ModelConfig OptConfig(int64_t layers, int64_t hidden_size, int64_t heads, int64_t positions) {
  ModelConfig model;
  model.architecture = "opt";
  model.vocab_size = 50272;
  model.hidden_size = hidden_size;
  model.num_hidden_layers = layers;
  model.num_attention_heads = heads;
  model.intermediate_size = 4 * hidden_size;
  model.max_position_embeddings = positions;
  model.hidden_act = "relu";
  return model;
}

// Unique parameters of a pre-LN decoder with a token table of width E.
int64_t OptParameters(int64_t L, int64_t C, int64_t P, int64_t E) {
  const int64_t layer = 4 * (C * C + C) + 2 * 4 * C * C + 4 * C + C + 4 * C;
  return 50272 * E + (P + 2) * C + (E == C ? 0 : 2 * E * C) + L * layer + 2 * C;
}

TEST(ArchitectureTest, OptHasThePublishedCounts) {
  EXPECT_EQ(Planned(OptConfig(12, 768, 12, 512))->parameters().parameter_count(), 124059648);
  EXPECT_EQ(OptParameters(12, 768, 512, 768), 124059648);
  ModelConfig opt_350m = OptConfig(24, 1024, 16, 1024);
  opt_350m.word_embed_proj_dim = 768;
  EXPECT_EQ(Planned(opt_350m)->parameters().parameter_count(), OptParameters(24, 1024, 1024, 768));
  ModelConfig opt_1_3b = OptConfig(24, 2048, 32, 1024);
  opt_1_3b.word_embed_proj_dim = 768;
  EXPECT_EQ(Planned(opt_1_3b)->parameters().parameter_count(), OptParameters(24, 2048, 1024, 768));
}

TEST(ArchitectureTest, BertLargeHasThePublishedCount) {
  ModelConfig model;
  model.vocab_size = 30522;
  model.hidden_size = 1024;
  model.num_hidden_layers = 24;
  model.num_attention_heads = 16;
  model.intermediate_size = 4096;
  EXPECT_EQ(Planned(model)->parameters().parameter_count(), 335174458);
}

TEST(ArchitectureTest, BigramBackcopyHasThePublishedCount) {
  ModelConfig model;
  model.architecture = "bigram_backcopy";
  model.vocab_size = 67;  // with the unused delimiter of the published runs
  model.hidden_size = 256;
  model.num_hidden_layers = 1;
  model.num_attention_heads = 1;
  model.intermediate_size = 1024;
  model.max_position_embeddings = 256;
  model.hidden_act = "relu";
  EXPECT_EQ(Planned(model)->parameters().parameter_count(), 887808);
}

TEST(ArchitectureTest, NamesOfOptAreHuggingFaces) {
  ModelConfig model = OptConfig(2, 64, 4, 16);
  model.word_embed_proj_dim = 24;
  model.attention.variant = "gated";
  model.attention.register_tokens = 3;
  const auto engine = Planned(model);
  std::map<std::string, Shape> shapes;
  for (const Parameter& parameter : engine->parameters().parameters())
    shapes[parameter.name] = parameter.shape;
  const std::string decoder = "model.decoder.";
  EXPECT_EQ(shapes.at(decoder + "embed_tokens.weight"), (Shape{50272, 24}));
  EXPECT_EQ(shapes.at(decoder + "embed_positions.weight"), (Shape{18, 64}));
  EXPECT_EQ(shapes.at(decoder + "embed_registers.weight"), (Shape{3, 64}));
  EXPECT_EQ(shapes.at(decoder + "project_in.weight"), (Shape{64, 24}));
  EXPECT_EQ(shapes.at(decoder + "project_out.weight"), (Shape{24, 64}));
  EXPECT_EQ(shapes.at(decoder + "final_layer_norm.bias"), (Shape{64}));
  for (const char* layer : {"layers.0.", "layers.1."}) {
    for (const char* part : {"self_attn_layer_norm", "final_layer_norm", "fc2"}) {
      EXPECT_EQ(shapes.at(decoder + layer + part + ".bias"), (Shape{64})) << layer << part;
    }
    EXPECT_EQ(shapes.at(decoder + layer + "self_attn.q_proj.weight"), (Shape{64, 64}));
    EXPECT_EQ(shapes.at(decoder + layer + "self_attn.out_proj.bias"), (Shape{64}));
    EXPECT_EQ(shapes.at(decoder + layer + "self_attn.gate.weight"), (Shape{4, 64}));
    EXPECT_EQ(shapes.at(decoder + layer + "fc1.weight"), (Shape{256, 64}));
  }
  EXPECT_EQ(shapes.size(), 3u + 2 + 2 + 2 * 17);
}

double LargestOf(const Engine& engine, const std::string& name) {
  for (size_t p = 0; p < engine.parameters().parameters().size(); ++p) {
    if (engine.parameters().parameters()[p].name != name) continue;
    const TensorView view = engine.parameters().Master(static_cast<int>(p));
    double largest = 0;
    for (int64_t i = 0; i < view.elements(); ++i)
      largest = std::max<double>(largest, std::abs(view.as<float>()[i]));
    return largest;
  }
  ADD_FAILURE() << "no parameter " << name;
  return 0;
}

TEST(ArchitectureTest, OptsProjectionsStartAsTheSwappedModuleDoes) {
  RunConfig config = SmallDecoderConfig("opt");
  config.model.initializer_range = 0.006;
  const auto engine = MakeEngine(config, DType::kFloat32, 1, 4);
  const double bound = 1 / std::sqrt(24.0);  // 576 draws: the largest is within 2 % of it
  const std::string layer = "model.decoder.layers.1.";
  for (const char* part : {"self_attn.q_proj.weight", "self_attn.out_proj.weight"}) {
    EXPECT_NEAR(LargestOf(*engine, layer + part), bound, 0.02 * bound) << part;
  }
  EXPECT_GT(LargestOf(*engine, layer + "self_attn.out_proj.bias"), 0);
  EXPECT_LT(LargestOf(*engine, layer + "fc1.weight"), 6 * 0.006);
  EXPECT_EQ(LargestOf(*engine, layer + "fc1.bias"), 0);
  const TensorView table =
      engine->parameters().Master(static_cast<int>(engine->parameters().parameters().size()) - 1);
  for (int64_t c = 0; c < 24; ++c) EXPECT_EQ(table.as<float>()[24 + c], 0);  // <pad>, id 1
  EXPECT_NE(table.as<float>()[0], 0);
}

TEST(ArchitectureTest, BigramBackcopyStartsAsPublished) {
  RunConfig config = SmallDecoderConfig("bigram_backcopy");
  const auto engine = MakeEngine(config, DType::kFloat32, 1, 4);
  // fan-in 24 and 40: U(±1/sqrt(fan-in)); embeddings N(0, 1).
  EXPECT_NEAR(LargestOf(*engine, "layers.0.feed_forward.up.weight"), 1 / std::sqrt(24.0), 0.01);
  EXPECT_NEAR(LargestOf(*engine, "layers.0.feed_forward.down.weight"), 1 / std::sqrt(40.0), 0.01);
  EXPECT_GT(LargestOf(*engine, "token_embedding.weight"), 2);
}

TEST(ArchitectureTest, RefusesWhatIsNotThere) {
  ModelConfig model = OptConfig(2, 64, 4, 16);
  model.next_sentence_head = true;
  EXPECT_EQ(DescribeArchitecture(model).status().message(),
            "only bert has a next-sentence head: opt");
  model.architecture = "gpt";
  EXPECT_EQ(DescribeArchitecture(model).status().message(),
            "unknown model.architecture: gpt: known: bert, opt, bigram_backcopy");
}

}  // namespace
}  // namespace sluice
