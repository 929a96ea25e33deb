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
  void ExpectRefused(const Json& change, const std::string& message) const {
    Json file = Bert();
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
    config.model.type_vocab_size = 3;
    config.model.hidden_act = "gelu_tanh";
    config.model.layer_norm_eps = 1e-5;
    config.model.hidden_dropout_prob = 0.25;
    config.model.attention_probs_dropout_prob = 0;
    config.model.initialization = "paper_text";
    config.model.initializer_range = 0.006;
    config.model.attention.variant = "gated";
    config.model.attention.gate = {.source = "input", .site = "key", .bias = true};
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
      const auto file = ConfigToHuggingFace(config, 0);
      ASSERT_TRUE(file.ok()) << file.status();
      const auto read = Read(*file);
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->model, config.model);
      EXPECT_EQ(read->training.precision, "fp32");
      EXPECT_EQ(read->data.sequence_length, 40);
    }
  }
}

TEST_F(HuggingFaceConfigTest, WritesWhatTransformersReads) {
  const Json file = ConfigToHuggingFace(Gated(), 0).value();
  EXPECT_EQ(file["architectures"], Json::array({"BertForMaskedLM"}));
  EXPECT_EQ(file["model_type"], "bert");
  EXPECT_EQ(file["hidden_act"], "gelu_new");
  EXPECT_EQ(file["layer_norm_eps"], 1e-5);
  EXPECT_EQ(file["pad_token_id"], 0);
  EXPECT_EQ(file["tie_word_embeddings"], true);
  EXPECT_EQ(file["sluice"]["attention"]["gate"]["bias"], true);
  EXPECT_EQ(file["sluice"]["attention"]["gate"]["source"], "input");
  EXPECT_TRUE(ConfigToHuggingFace(Gated(), -1).value()["pad_token_id"].is_null());
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

}  // namespace
}  // namespace sluice
