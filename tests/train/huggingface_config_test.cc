#include "train/huggingface_config.h"

#include "core/error.h"
#include "gmock/gmock.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class HuggingFaceConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<RunConfig> Read(const Json& file) const {
    const std::string path = folder_.path() + "/config.json";
    testing::SetFileBytes(path, file.dump());
    return ConfigFromHuggingFace(path);
  }
  void ExpectRefused(const Json& change, const std::string& message, Json file = Bert()) const {
    file.merge_patch(change);
    const absl::Status status = Read(file).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << change;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << change;
    EXPECT_THAT(std::string(status.message()), HasSubstr("/config.json")) << change;
  }
  static Json Bert() {
    return {{"architectures", {"BertForMaskedLM"}},
            {"model_type", "bert"},
            {"vocab_size", 60},
            {"hidden_size", 32},
            {"num_attention_heads", 2}};
  }
  static RunConfig Gated() {
    RunConfig config;
    config.name = "test";
    config.model.vocab_size = 61;
    config.model.hidden_size = 48;
    config.model.num_hidden_layers = 3;
    config.model.num_attention_heads = 3;
    config.model.intermediate_size = 96;
    config.model.max_position_embeddings = 40;
    config.data.sequence_length = 40;
    config.model.type_vocab_size = 3;
    config.model.hidden_act = "gelu_tanh";
    config.model.layer_norm_eps = 1e-5;
    config.model.hidden_dropout_prob = 0.25;
    config.model.attention_probs_dropout_prob = 0;
    config.model.initialization = "paper_text";
    config.model.initializer_range = 0.006;
    config.model.attention.variant = "gated";
    config.model.attention.gate.source = "input";
    config.model.attention.gate.site = "key";
    config.model.attention.gate.bias = true;
    return config;
  }
  static Json Opt() {
    return {{"architectures", {"OPTForCausalLM"}},
            {"model_type", "opt"},
            {"vocab_size", 60},
            {"hidden_size", 32},
            {"num_attention_heads", 2}};
  }
  static RunConfig GatedOpt() {
    RunConfig config = Gated();
    config.model.architecture = "opt";
    config.model.type_vocab_size = ModelConfig().type_vocab_size;
    config.model.word_embed_proj_dim = 24;
    config.model.hidden_act = "relu";
    return config;
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(HuggingFaceConfigTest, EveryKeyOfAModelComesBack) {
  RunConfig config = Gated();
  for (const char* activation : {"gelu_tanh", "gelu_erf", "relu"}) {
    for (const bool head : {false, true}) {
      config.model.hidden_act = activation;
      config.model.next_sentence_head = head;
      const auto file = ConfigToHuggingFace(config, {.pad = 0});
      ASSERT_TRUE(file.ok()) << file.status();
      const auto read = Read(*file);
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->model, config.model);
      EXPECT_EQ(read->training.precision, "fp32");
      EXPECT_EQ(read->data.sequence_length, 40);
    }
  }
}

// At its own length, packed as in training; files of others do not say: 128 at most.
TEST_F(HuggingFaceConfigTest, RowsAreThoseOfTheRun) {
  RunConfig config = GatedOpt();
  config.data.sequence_length = 24;
  config.data.packing = "blocks_of_1000_rows";
  config.data.row_start = "every_row";
  config.data.attention_across_documents = false;
  config.data.train = "somewhere";
  Json file = ConfigToHuggingFace(config, {.pad = 0}).value();
  EXPECT_FALSE(file["sluice"]["data"].contains("train"));
  const auto read = Read(file);
  ASSERT_TRUE(read.ok()) << read.status();
  config.data.train = "";
  EXPECT_EQ(read->data, config.data);
  file["sluice"].erase("data");
  EXPECT_EQ(Read(file)->data.sequence_length, 40);
  EXPECT_EQ(Read(Opt())->data.sequence_length, 128);
  ExpectRefused({{"sluice", {{"data", 5}}}}, "sluice.data is not an object");
  ExpectRefused({{"sluice", {{"data", {{"train", "elsewhere"}}}}}}, "unknown key");
  ExpectRefused({{"sluice", {{"data", {{"sequence_length", 4096}}}}}}, "sequence_length");
}

TEST_F(HuggingFaceConfigTest, EveryGateComesBack) {
  RunConfig config = Gated();
  GateConfig& gate = config.model.attention.gate;
  gate.temperature = 0.7;
  gate.layers = {0, 2};
  gate.initial_probability = 0.9;
  for (const char* predictor : {"linear", "mlp", "free_scalar"}) {
    for (const char* scale : {"1", "2.5", "one_at_start"}) {
      gate.predictor = predictor;
      gate.scale = scale;
      gate.bias = gate.predictor == "linear";
      gate.source = gate.predictor == "free_scalar" ? "value" : "input";
      gate.predictor_hidden_size = gate.predictor == "mlp" ? 4 : GateConfig().predictor_hidden_size;
      const Json file = ConfigToHuggingFace(config, {.pad = 0}).value();
      EXPECT_EQ(file["sluice"]["attention"]["gate"]["layers"], (std::vector<int>{0, 2}));
      EXPECT_EQ(file["sluice"]["attention"]["gate"]["scale"], scale);
      const auto read = Read(file);
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->model, config.model);
    }
  }
}

TEST_F(HuggingFaceConfigTest, WritesWhatTransformersReads) {
  const Json file = ConfigToHuggingFace(Gated(), {.pad = 0}).value();
  EXPECT_EQ(file["architectures"], Json::array({"BertForMaskedLM"}));
  EXPECT_EQ(file["model_type"], "bert");
  EXPECT_EQ(file["hidden_act"], "gelu_new");
  EXPECT_EQ(file["layer_norm_eps"], 1e-5);
  EXPECT_EQ(file["pad_token_id"], 0);
  EXPECT_EQ(file["tie_word_embeddings"], true);
  EXPECT_EQ(file["sluice"]["attention"]["gate"]["bias"], true);
  EXPECT_EQ(file["sluice"]["attention"]["gate"]["source"], "input");
  EXPECT_TRUE(ConfigToHuggingFace(Gated(), {}).value()["pad_token_id"].is_null());
}

TEST_F(HuggingFaceConfigTest, WhatAFileLeavesOutIsTheDefaultOfBertConfig) {
  const auto config = Read({{"model_type", "bert"}});
  ASSERT_TRUE(config.ok()) << config.status();
  ModelConfig bert_base;
  bert_base.vocab_size = 30522;
  EXPECT_EQ(config->model, bert_base);
}

TEST_F(HuggingFaceConfigTest, RefusesModelsThatDoNotExistHere) {
  ASSERT_TRUE(Read(Bert()).ok());
  ExpectRefused({{"model_type", "roberta"}}, R"(model_type: "roberta", known: "bert")");
  ExpectRefused({{"model_type", nullptr}}, "a key is missing");
  ExpectRefused({{"architectures", {"BertModel"}}}, R"(architectures: ["BertModel"])");
  ExpectRefused({{"architectures", "BertForMaskedLM"}}, "architectures");
  ExpectRefused({{"position_embedding_type", "relative_key"}}, "position_embedding_type");
  ExpectRefused({{"is_decoder", true}}, "is_decoder: true");
  ExpectRefused({{"add_cross_attention", true}}, "add_cross_attention");
  ExpectRefused({{"tie_word_embeddings", false}}, "tie_word_embeddings: false");
  ExpectRefused({{"hidden_act", "swish"}}, R"(hidden_act: "swish", known: gelu, gelu_new)");
  ExpectRefused({{"hidden_act", 3}}, "hidden_act: 3");
  ExpectRefused({{"quantization_config", {{"bits", 8}}}}, "quantization_config");
}

TEST_F(HuggingFaceConfigTest, RefusesValuesThatAreWrong) {
  ExpectRefused({{"hidden_size", "big"}}, "model.hidden_size: 'big'");
  ExpectRefused({{"hidden_size", 33}}, "model.num_attention_heads");
  ExpectRefused({{"num_hidden_layers", 0}}, "model.num_hidden_layers: '0'");
  ExpectRefused({{"layer_norm_eps", -1}}, "model.layer_norm_eps: '-1'");
  ExpectRefused({{"max_position_embeddings", 1.5}}, "model.max_position_embeddings: '1.5'");
  ExpectRefused({{"vocab_size", 0}}, "vocab_size: 0");
  ExpectRefused({{"sluice", 1}}, "sluice is not an object");
  ExpectRefused({{"sluice", {{"steps", 1}}}}, "sluice.steps");
  ExpectRefused({{"sluice", {{"attention", {{"variant", "grated"}}}}}}, "grated");
  ExpectRefused({{"sluice", {{"attention", {{"variante", "gated"}}}}}}, "model.attention.variante");
}

TEST_F(HuggingFaceConfigTest, EveryKeyOfAnOptComesBack) {
  RunConfig config = GatedOpt();
  for (const int64_t width : {24, 0}) {
    config.model.word_embed_proj_dim = width;
    const auto file = ConfigToHuggingFace(config, {.pad = 1, .bos = 2, .eos = 2});
    ASSERT_TRUE(file.ok()) << file.status();
    const auto read = Read(*file);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->model, config.model);
  }
}

TEST_F(HuggingFaceConfigTest, WritesOptAsTransformersReadsIt) {
  const Json file = ConfigToHuggingFace(GatedOpt(), {.pad = 1, .bos = 2, .eos = 2}).value();
  EXPECT_EQ(file["architectures"], Json::array({"OPTForCausalLM"}));
  EXPECT_EQ(file["model_type"], "opt");
  EXPECT_EQ(file["ffn_dim"], 96);
  EXPECT_EQ(file["word_embed_proj_dim"], 24);
  EXPECT_EQ(file["dropout"], 0.25);
  EXPECT_EQ(file["attention_dropout"], 0);
  EXPECT_EQ(file["init_std"], 0.006);
  EXPECT_EQ(file["activation_function"], "relu");
  EXPECT_EQ(file["do_layer_norm_before"], true);
  EXPECT_EQ(file["bos_token_id"], 2);
  EXPECT_EQ(file["eos_token_id"], 2);
  EXPECT_EQ(file["pad_token_id"], 1);
  EXPECT_FALSE(file.contains("layer_norm_eps"));
  EXPECT_FALSE(file.contains("intermediate_size"));
}

TEST_F(HuggingFaceConfigTest, WhatAFileLeavesOutIsTheDefaultOfOptConfig) {
  const auto config = Read({{"model_type", "opt"}, {"word_embed_proj_dim", nullptr}});
  ASSERT_TRUE(config.ok()) << config.status();
  ModelConfig opt;
  opt.architecture = "opt";
  opt.vocab_size = 50272;
  opt.max_position_embeddings = 2048;
  opt.hidden_act = "relu";
  opt.layer_norm_eps = 1e-5;
  opt.attention_probs_dropout_prob = 0;
  EXPECT_EQ(config->model, opt);
}

TEST_F(HuggingFaceConfigTest, RefusesOptsThatDoNotExistHere) {
  ASSERT_TRUE(Read(Opt()).ok());
  ExpectRefused({{"do_layer_norm_before", false}}, "do_layer_norm_before: false", Opt());
  ExpectRefused({{"_remove_final_layer_norm", true}}, "_remove_final_layer_norm: true", Opt());
  ExpectRefused({{"enable_bias", false}}, "enable_bias: false", Opt());
  ExpectRefused({{"layer_norm_elementwise_affine", false}}, "layer_norm_elementwise_affine", Opt());
  ExpectRefused({{"layerdrop", 0.1}}, "layerdrop: 0.1", Opt());
  ExpectRefused({{"tie_word_embeddings", false}}, "tie_word_embeddings: false", Opt());
  ExpectRefused({{"activation_function", "swish"}}, R"(activation_function: "swish")", Opt());
  ExpectRefused({{"architectures", {"OPTForSequenceClassification"}}},
                R"(known: ["OPTForCausalLM"])", Opt());
  ExpectRefused({{"word_embed_proj_dim", "wide"}}, "model.word_embed_proj_dim", Opt());
}

TEST_F(HuggingFaceConfigTest, AlphaIsWrittenAsItsGamma) {
  RunConfig config = Gated();
  config.data.sequence_length = 32;
  config.model.attention = AttentionConfig();
  config.model.attention.variant = "clipped_softmax";
  config.model.attention.clipped_softmax.alpha = 4;
  config.model.attention.register_tokens = 3;
  const Json file = ConfigToHuggingFace(config, {}).value();
  EXPECT_EQ(file["sluice"]["attention"]["clipped_softmax"]["gamma"], -0.125);
  const auto read = Read(file);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->model.attention.clipped_softmax.gamma, -0.125);
  EXPECT_EQ(read->model.attention.clipped_softmax.alpha, 0);
  EXPECT_EQ(read->model.attention.register_tokens, 3);
}

TEST_F(HuggingFaceConfigTest, DoesNotWriteWhatTransformersLacks) {
  RunConfig config = GatedOpt();
  config.model.layer_norm_eps = 1e-12;
  EXPECT_THAT(std::string(ConfigToHuggingFace(config, {}).status().message()),
              HasSubstr("1e-12, there always 1e-05"));
  config.model.architecture = "bigram_backcopy";
  const absl::Status status = ConfigToHuggingFace(config, {}).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("bigram_backcopy"));
}

}  // namespace
}  // namespace sluice
