#include "config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace sluice {
namespace {

using testing::ElementsAre;

TEST(LoadTest, ReadsEveryTypeAndKeepsDefaults) {
  TemporaryFolder folder;
  const std::string path = folder.Write("run.yaml", R"(# comment
name: my-run
model: {hidden_size: 512, num_attention_heads: 8}
data:
  train: "data/with space"
  validation: [a, 'b c']
  attention_across_documents: false
optimizer:
  learning_rate: 1e-4
  eps: +1E-9
  weight_decay: 0
  no_decay: []
training:
  seed: 18446744073709551615
  steps: 2000000
)");
  const absl::StatusOr<RunConfig> config = LoadRunConfig(path);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "my-run");
  EXPECT_EQ(config->model.hidden_size, 512);
  EXPECT_EQ(config->model.num_attention_heads, 8);
  EXPECT_EQ(config->model.num_hidden_layers, 12);
  EXPECT_EQ(config->data.train, "data/with space");
  EXPECT_THAT(config->data.validation, ElementsAre("a", "b c"));
  EXPECT_FALSE(config->data.attention_across_documents);
  EXPECT_EQ(config->optimizer.learning_rate, 1e-4);
  EXPECT_EQ(config->optimizer.eps, 1e-9);
  EXPECT_EQ(config->optimizer.weight_decay, 0.0);
  EXPECT_TRUE(config->optimizer.no_decay.empty());
  EXPECT_EQ(config->training.seed, 18446744073709551615u);
  EXPECT_EQ(config->training.steps, 2000000);
}

TEST(LoadTest, TextThatIsNoFile) {
  const auto config = ParseRunConfig(
      R"({"model": {"hidden_size": 24, "num_attention_heads": 3, "layer_norm_eps": 1e-07,
      "attention": {"variant": "gated", "gate": {"bias": true}}}})",
      "there/config.json", ConfigUse::kInspection);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "config");
  EXPECT_EQ(config->model.hidden_size, 24);
  EXPECT_EQ(config->model.layer_norm_eps, 1e-7);
  EXPECT_TRUE(config->model.attention.gate.bias);
  const absl::Status status = ParseRunConfig("model: {hidden_sise: 24}", "here").status();
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("here:1: model.hidden_sise"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("data.train"));
}

TEST(LoadTest, NamesARunAfterItsFile) {
  TemporaryFolder folder;
  const absl::StatusOr<RunConfig> config =
      LoadRunConfig(folder.Write("bert vga.v2.yaml", "data: {train: t}\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "bert_vga.v2");
}

TEST(LoadTest, LaterLayersWin) {
  TemporaryFolder folder;
  folder.Write("shared/base.yaml", "extends: deeper/root.yaml\ntraining: {steps: 20, seed: 2}\n");
  folder.Write(
      "shared/deeper/root.yaml",
      "data: {train: t, validation: [x, y]}\ntraining: {steps: 10, seed: 1, log_every: 3}\n");
  const std::string path = folder.Write(
      "runs/run.yaml",
      "training: {steps: 30}\ndata: {validation: [z]}\nextends: ../shared/base.yaml\n");
  const absl::StatusOr<RunConfig> config = LoadRunConfig(path, {"training.log_every=5"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->training.steps, 30);
  EXPECT_EQ(config->training.seed, 2u);
  EXPECT_EQ(config->training.log_every, 5);
  EXPECT_EQ(config->data.train, "t");
  EXPECT_THAT(config->data.validation, ElementsAre("z"));
}

TEST(LoadTest, OverridesTakeTextAsItStands) {
  TemporaryFolder folder;
  const std::string path = folder.Write("run.yaml", "training: {steps: 10}\n");
  const absl::StatusOr<RunConfig> config = LoadRunConfig(
      path, {"data.train=a: b #1=2", "data.validation=[a, 'b, c']", "training.steps = 7",
             "training.steps=8", "model.attention.variant=gated", "model.attention.gate.bias=true",
             "name=\"quoted\""});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->data.train, "a: b #1=2");
  EXPECT_THAT(config->data.validation, ElementsAre("a", "b, c"));
  EXPECT_EQ(config->training.steps, 8);
  EXPECT_TRUE(config->model.attention.gate.bias);
  EXPECT_EQ(config->name, "quoted");
}

// As these keys were written when they were true or false.
TEST(LoadTest, TrueAndFalseAreReadAsWhatTheyMean) {
  TemporaryFolder folder;
  const std::string path = folder.Write("run.yaml",
                                        "data: {train: t, validation: [v]}\n"
                                        "checkpoint: {keep_best: false}\n"
                                        "telemetry: {quantization_probe: True}\n");
  const RunConfig config = LoadRunConfig(path, {}).value();
  EXPECT_EQ(config.checkpoint.keep_best, "none");
  EXPECT_EQ(config.telemetry.quantization_probe, "auto");
  const RunConfig other =
      LoadRunConfig(path, {"checkpoint.keep_best=true", "telemetry.quantization_probe=false"})
          .value();
  EXPECT_EQ(other.checkpoint.keep_best, "perplexity");
  EXPECT_EQ(other.telemetry.quantization_probe, "off");
  EXPECT_EQ(RunConfig().checkpoint.keep_best, "perplexity");
}

TEST(LoadTest, InspectionNeedsNoData) {
  TemporaryFolder folder;
  const std::string path = folder.Write("run.yaml", "training: {steps: 10}\n");
  EXPECT_FALSE(LoadRunConfig(path).ok());
  const absl::StatusOr<RunConfig> config = LoadRunConfig(path, {}, ConfigUse::kInspection);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->data.train, "");
}

TEST(LoadTest, ReadsWindowsLineEndsByteOrderMarksAndAnchors) {
  TemporaryFolder folder;
  const std::string path =
      folder.Write("run.yaml", "\xEF\xBB\xBF---\r\ndata: {train: &set t, validation: [*set]}\r\n");
  const absl::StatusOr<RunConfig> config = LoadRunConfig(path);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->data.train, "t");
  EXPECT_THAT(config->data.validation, ElementsAre("t"));
}

}  // namespace
}  // namespace sluice
