#include "train/huggingface_names.h"

#include "core/error.h"
#include "gmock/gmock.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

const std::vector<std::string> kParameters = {
    "cls.predictions.bias", "bert.embeddings.word_embeddings.weight",
    "bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias"};

absl::StatusOr<HuggingFaceTensors> Sort(const std::vector<std::string>& file_names) {
  return SortTensorNames(file_names, kParameters, ModelConfig(), "x.safetensors");
}

TEST(HuggingFaceNamesTest, ParametersUnderEveryName) {
  const auto tensors = Sort({"cls.predictions.bias", "embeddings.word_embeddings.weight",
                             "bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.beta"});
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT(
      tensors->file_name,
      ElementsAre(
          Pair("bert.embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta"),
          Pair("bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.gamma"),
          Pair("bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
          Pair("cls.predictions.bias", "cls.predictions.bias")));
  EXPECT_THAT(tensors->unknown, IsEmpty());
}

TEST(HuggingFaceNamesTest, WhatIsNoParameter) {
  const auto tensors =
      Sort({"bert.embeddings.position_ids", "embeddings.token_type_ids", "pooler.dense.weight",
            "cls.seq_relationship.bias", "bert.encoder.layer.9.x", "lm_head.weight"});
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT(tensors->left_out, ElementsAre("pooler.dense.weight", "cls.seq_relationship.bias"));
  EXPECT_THAT(tensors->unknown, ElementsAre("bert.encoder.layer.9.x", "lm_head.weight"));
  EXPECT_THAT(tensors->file_name, IsEmpty());
}

TEST(HuggingFaceNamesTest, SecondNamesAreCopiesOrStandAlone) {
  auto tensors = Sort({"cls.predictions.bias", "cls.predictions.decoder.bias"});
  ASSERT_EQ(tensors->copies.size(), 1u);
  EXPECT_EQ(tensors->copies[0].name, "cls.predictions.decoder.bias");
  EXPECT_EQ(tensors->copies[0].parameter, "cls.predictions.bias");
  tensors = Sort({"cls.predictions.decoder.bias"});
  EXPECT_THAT(tensors->copies, IsEmpty());
  EXPECT_THAT(tensors->file_name,
              ElementsAre(Pair("cls.predictions.bias", "cls.predictions.decoder.bias")));
}

TEST(HuggingFaceNamesTest, TheSameParameterTwiceIsAnError) {
  const absl::Status status =
      Sort({"bert.embeddings.LayerNorm.beta", "bert.embeddings.LayerNorm.bias"}).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_EQ(status.message(),
            "two tensors are the same parameter: x.safetensors: bert.embeddings.LayerNorm.beta, "
            "bert.embeddings.LayerNorm.bias");
}

TEST(HuggingFaceNamesTest, OptWithoutPrefixAndWithItsHead) {
  ModelConfig opt;
  opt.architecture = "opt";
  const std::string table = "model.decoder.embed_tokens.weight";
  const auto tensors =
      SortTensorNames({"decoder.embed_tokens.weight", "lm_head.weight", "lm_head.bias"}, {table},
                      opt, "x.safetensors");
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT(tensors->file_name, ElementsAre(Pair(table, "decoder.embed_tokens.weight")));
  ASSERT_EQ(tensors->copies.size(), 1u);
  EXPECT_EQ(tensors->copies[0].name, "lm_head.weight");
  EXPECT_EQ(tensors->copies[0].parameter, table);
  EXPECT_THAT(tensors->unknown, ElementsAre("lm_head.bias"));
}

TEST(HuggingFaceNamesTest, WhatTransformersHasNoPlaceFor) {
  for (const char* own :
       {"bert.encoder.layer.0.attention.self.gate.weight",
        "model.decoder.layers.1.self_attn.sink.key", "bert.embeddings.register_embeddings.weight",
        "model.decoder.embed_registers.weight"}) {
    EXPECT_TRUE(IsOwnParameter(own)) << own;
  }
  EXPECT_FALSE(IsOwnParameter("model.decoder.layers.1.self_attn.q_proj.weight"));
}

}  // namespace
}  // namespace sluice
