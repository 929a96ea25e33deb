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

}  // namespace
}  // namespace sluice
