// Every file in configs/ loads, says what it reproduces, and survives a dump.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/dump.h"
#include "config/load.h"
#include "config/validate.h"
#include "temporary_folder.h"

namespace sluice {
namespace {

RunConfig Load(const std::string& path) {
  const absl::StatusOr<RunConfig> config = LoadRunConfig(path);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : RunConfig();
}

std::vector<std::string> ConfigFiles() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("configs")) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  }
  return files;
}

TEST(ConfigsTest, EveryFileLoads) {
  const std::vector<std::string> files = ConfigFiles();
  EXPECT_GE(files.size(), 15u);
  TemporaryFolder folder;
  for (const std::string& file : files) {
    SCOPED_TRACE(file);
    std::string first_line;
    std::getline(std::ifstream(file) >> std::ws, first_line);
    EXPECT_TRUE(absl::StartsWith(first_line, "# ")) << first_line;
    const RunConfig config = Load(file);
    EXPECT_TRUE(config.data.source != "shards" || !config.data.validation.empty());
    for (int world_size : {1, 2, 4}) EXPECT_TRUE(ValidateWorldSize(config, world_size).ok());
    EXPECT_TRUE(Load(folder.Write("config.yaml", DumpRunConfig(config))) == config);
  }
}

TEST(ConfigsTest, VariantsDifferInTheirAttentionOnly) {
  for (const std::string prefix :
       {"configs/bert_base/", "configs/bert_small/", "configs/toy/bert_"}) {
    const RunConfig vanilla = Load(prefix + "vanilla.yaml");
    EXPECT_EQ(vanilla.model.attention.variant, "vanilla");
    for (const auto& [variant, source, site] :
         {std::tuple("vga", "value", "query"), std::tuple("vga_key_site", "value", "key"),
          std::tuple("iga", "input", "query"), std::tuple("iga_key_site", "input", "key")}) {
      const std::string path = prefix + variant + ".yaml";
      if (!std::filesystem::exists(path)) continue;
      SCOPED_TRACE(path);
      const RunConfig config = Load(path);
      EXPECT_EQ(config.model.attention.variant, "gated");
      EXPECT_EQ(config.model.attention.gate.source, source);
      EXPECT_EQ(config.model.attention.gate.site, site);
      for (const KeyDifference& difference : ConfigDifference(vanilla, config)) {
        EXPECT_TRUE(difference.key == "name" ||
                    absl::StartsWith(difference.key, "model.attention."))
            << difference.key;
      }
    }
  }
}

// Runs go to runs/NAME: two that are started as they are do not meet in one folder. What others
// extend is not to be run.
TEST(ConfigsTest, NamesAreUnique) {
  std::map<std::string, std::string> files;
  for (const std::string& file : ConfigFiles()) {
    const std::string stem = std::filesystem::path(file).stem().string();
    if (stem == "base" || stem == "task") continue;
    const auto [other, is_new] = files.emplace(Load(file).name, file);
    EXPECT_TRUE(is_new) << file << " and " << other->second << " are both called " << other->first;
  }
}

// One question a file: it differs from the baseline in its gate alone, and every key of the gate is
// asked about.
TEST(ConfigsTest, AblationsDifferInTheirGatesOnly) {
  const std::string gate = "model.attention.gate.";
  const RunConfig baseline = Load("configs/ablations/baseline.yaml");
  std::set<std::string> asked;
  for (const auto& entry : std::filesystem::directory_iterator("configs/ablations")) {
    const std::string file = entry.path().filename().string();
    if (file == "baseline.yaml" || file == "finetune_vga.yaml") continue;
    SCOPED_TRACE(file);
    int differences = 0;
    for (const KeyDifference& difference :
         ConfigDifference(baseline, Load(entry.path().string()))) {
      if (difference.key == "name") continue;
      ++differences;
      asked.insert(difference.key);
      EXPECT_TRUE(absl::StartsWith(difference.key, gate)) << difference.key;
    }
    EXPECT_GE(differences, 1);
  }
  for (const char* key : {"source", "site", "bias", "granularity", "per_head_slice",
                          "initial_probability", "predictor", "temperature", "layers"}) {
    EXPECT_TRUE(asked.contains(gate + key)) << key;
  }
  EXPECT_EQ(baseline.model.attention.gate, Load("configs/opt_mini/vga.yaml").model.attention.gate);
}

TEST(ConfigsTest, FineTuningStartsAsTheVanillaModel) {
  const RunConfig vanilla = Load("configs/opt_mini/vanilla.yaml");
  const RunConfig tuned = Load("configs/ablations/finetune_vga.yaml");
  EXPECT_EQ(tuned.training.initial_weights, "runs/" + vanilla.name);
  EXPECT_EQ(GateScale(tuned.model.attention.gate), 4);
  for (const KeyDifference& difference : ConfigDifference(vanilla, tuned)) {
    EXPECT_TRUE(!absl::StartsWith(difference.key, "model.") ||
                absl::StartsWith(difference.key, "model.attention."))
        << difference.key;
  }
}

// What launch/reproduce_language.sh trains.
TEST(ConfigsTest, ComparedVariantsAreThereAndDifferInTheirAttentionOnly) {
  for (const std::string folder :
       {"opt_tiny", "opt_mini", "opt_125m", "bert_tiny", "bert_small", "bert_base"}) {
    const RunConfig vanilla = Load("configs/" + folder + "/vanilla.yaml");
    for (const std::string variant :
         {"registers", "learnable_sink", "learnable_sink_token", "iga", "vga", "vga_key_site",
          "clipped_softmax", "softmax_plus_one"}) {
      SCOPED_TRACE(absl::StrCat(folder, " ", variant));
      const RunConfig config = Load(absl::StrCat("configs/", folder, "/", variant, ".yaml"));
      EXPECT_FALSE(config.model.attention == vanilla.model.attention);
      for (const KeyDifference& difference : ConfigDifference(vanilla, config)) {
        EXPECT_TRUE(difference.key == "name" ||
                    absl::StartsWith(difference.key, "model.attention."))
            << difference.key;
      }
    }
  }
}

// As published; Guo et al. train this one faster.
TEST(ConfigsTest, BigramBackcopyWithoutASoftmaxDiffersInThatAndItsLearningRate) {
  const RunConfig vanilla = Load("configs/bigram_backcopy/vanilla.yaml");
  const RunConfig relu = Load("configs/bigram_backcopy/relu.yaml");
  EXPECT_EQ(relu.model.attention.variant, "relu");
  EXPECT_EQ(relu.optimizer.learning_rate, 3e-3);
  for (const KeyDifference& difference : ConfigDifference(vanilla, relu)) {
    EXPECT_TRUE(difference.key == "name" || difference.key == "model.attention.variant" ||
                difference.key == "optimizer.learning_rate")
        << difference.key;
  }
}

TEST(ConfigsTest, OptTinyIsTheRecipeInWhichASinkForms) {
  const RunConfig config = Load("configs/opt_tiny/vanilla.yaml");
  EXPECT_EQ(config.model.architecture, "opt");
  EXPECT_EQ(config.model.num_hidden_layers, 4);
  EXPECT_EQ(config.model.hidden_size, 128);
  EXPECT_EQ(config.model.num_attention_heads, 2);
  EXPECT_EQ(config.model.hidden_dropout_prob, 0);
  EXPECT_EQ(config.model.attention_probs_dropout_prob, 0);
  EXPECT_EQ(config.data.row_start, "every_row");
  EXPECT_EQ(config.data.sequence_length * config.training.global_batch_size, 4096);
  EXPECT_EQ(config.optimizer.learning_rate, 3e-3);
  EXPECT_EQ(config.optimizer.beta1, 0.9);
  EXPECT_EQ(config.optimizer.beta2, 0.95);
  EXPECT_EQ(config.optimizer.weight_decay, 0.1);
  EXPECT_TRUE(config.optimizer.no_decay.empty());
  EXPECT_EQ(config.schedule.warmup_steps, 100);
  EXPECT_EQ(config.training.steps, 2000);
}

TEST(ConfigsTest, BertBaseIsThePapersRecipe) {
  const RunConfig config = Load("configs/bert_base/vga.yaml");
  EXPECT_EQ(config.name, "bert_base_vga");
  EXPECT_EQ(config.model.vocab_size, 30522);
  EXPECT_EQ(config.model.num_hidden_layers, 12);
  EXPECT_EQ(config.model.hidden_size, 768);
  EXPECT_EQ(config.training.steps, 1000000);
  EXPECT_EQ(config.training.global_batch_size, 256);
  EXPECT_EQ(config.data.sequence_length, 128);
  EXPECT_EQ(config.optimizer.learning_rate, 1e-4);
  EXPECT_EQ(config.optimizer.weight_decay, 0.01);
  EXPECT_EQ(config.schedule.warmup_steps, 10000);
  EXPECT_EQ(config.schedule.final_fraction, 0.0);
  EXPECT_EQ(config.training.seed, 1000u);
  EXPECT_EQ(config.checkpoint.every, 100000);
}

}  // namespace
}  // namespace sluice
