// Records of gates and attention in whole runs: the same whether a run was stopped, and however
// many ranks it has.
#include "train/run_telemetry.h"

#include <fstream>

#include "absl/strings/match.h"
#include "checkpoint/diff.h"
#include "checkpoint/reader.h"
#include "nlohmann/json.hpp"
#include "training_run.h"

namespace sluice {
namespace {

class RunTelemetryTest : public testing::TrainingRun {
 protected:
  RunConfig Config(int64_t steps) const {
    RunConfig config = TrainingRun::Config(steps);
    config.checkpoint.every = 4;
    config.checkpoint.keep_last = 10;
    config.telemetry.attention_statistics_every = 3;
    config.telemetry.statistics_sequences = 8;  // of 12: more than one rank has, not all of two
    config.telemetry.tensorboard = false;
    return config;
  }

  // Lines of metrics.jsonl about gates and attention.
  std::vector<std::string> Records(const std::string& run) const {
    std::ifstream file(Run(run) + "/metrics.jsonl");
    std::vector<std::string> records;
    for (std::string line; std::getline(file, line);) {
      if (absl::StrContains(line, "\"event\":\"gates\"") ||
          absl::StrContains(line, "\"event\":\"attention\"")) {
        records.push_back(line);
      }
    }
    return records;
  }
};

TEST_F(RunTelemetryTest, RecordsAreWrittenWhenDue) {
  ASSERT_TRUE(Train(Config(7), "run", 1).ok());
  const auto records = Records("run");
  ASSERT_EQ(records.size(), 4u);  // gates and attention of steps 3 and 6
  for (size_t i = 0; i < records.size(); ++i) {
    const auto json = nlohmann::json::parse(records[i]);
    EXPECT_EQ(json["step"], i < 2 ? 3 : 6);
    const bool gates = json["event"] == "gates";
    EXPECT_EQ(gates, i % 2 == 0);
    const std::vector<std::string> names =
        gates
            ? std::vector<std::string>{"mean", "variance", "share_below", "share_above", "entropy"}
            : std::vector<std::string>{"mass_on_first", "mass_on_special", "mass_on_strongest",
                                       "delta_logit",   "entropy",         "value_norm_ratio"};
    EXPECT_EQ(json.size(), 2 + 2 * names.size());
    for (const char* layer : {"layer_0.", "layer_1."}) {
      for (const std::string& name : names) {
        ASSERT_EQ(json[layer + name].size(), 2u) << name;
        for (const auto& head : json[layer + name]) EXPECT_TRUE(head.is_number()) << name;
      }
    }
  }
  // What a newly made model does: gates near one half, attention spread over 15 or 16 tokens.
  const auto gates = nlohmann::json::parse(records[0]);
  const auto attention = nlohmann::json::parse(records[1]);
  EXPECT_NEAR(gates["layer_0.entropy"][0], std::log(2), 0.1);
  EXPECT_NEAR(attention["layer_0.mass_on_first"][1], 1 / 16.0, 0.03);
  EXPECT_NEAR(attention["layer_0.entropy"][0], std::log(16), 0.1);
}

// What is not there is not recorded as shut.
TEST_F(RunTelemetryTest, LayersWithoutGatesHaveNoRecordOfGates) {
  RunConfig config = Config(3);
  config.model.attention.gate.layers = {1};
  ASSERT_TRUE(Train(config, "run", 1).ok());
  const auto records = Records("run");
  ASSERT_EQ(records.size(), 2u);
  const auto gates = nlohmann::json::parse(records[0]);
  ASSERT_EQ(gates["event"], "gates");
  EXPECT_EQ(gates.size(), 2 + 5);  // event and step, and five numbers of layer 1
  EXPECT_NEAR(gates["layer_1.mean"][0], 0.5, 0.1);
  EXPECT_TRUE(nlohmann::json::parse(records[1]).contains("layer_0.entropy"));
}

TEST_F(RunTelemetryTest, StoppedAndResumedIsStraight) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const std::string straight = absl::StrCat("straight", ranks);
    const std::string resumed = absl::StrCat("resumed", ranks);
    ASSERT_TRUE(Train(Config(12), straight, ranks).ok());
    // Between two records, and twice between two checkpoints that are due.
    for (const int64_t steps : {5, 7, 12}) {
      ASSERT_TRUE(Train(Config(steps), resumed, ranks).ok());
    }
    EXPECT_EQ(Records(resumed), Records(straight));
    EXPECT_EQ(Records(straight).size(), 8u);
    for (const int64_t step : {8, 12}) {
      const auto diff = DiffCheckpoints(Checkpoint(straight, step), Checkpoint(resumed, step));
      ASSERT_TRUE(diff.ok()) << diff.status();
      for (const DiffSection& section : diff->sections) {
        // Not the state: each end of a run evaluates, which the straight one does once.
        if (section.name == "state" || section.name == "config") continue;
        EXPECT_TRUE(section.equal()) << DiffText(*diff);
        EXPECT_GT(section.compared, 0) << section.name;
      }
    }
    const auto gates = ReadCheckpointGates(Checkpoint(resumed, 8));
    const auto attention = ReadCheckpointAttention(Checkpoint(resumed, 8));
    ASSERT_TRUE(gates.ok() && attention.ok());
    EXPECT_EQ(gates->batches, 2 * ranks);  // updates 5 and 7 were looked at since step 4
    EXPECT_EQ(attention->looks, 1);        // step 6
    EXPECT_EQ(attention->sequences, 8);
  }
}

// Weights that stay what they are, and micro-batches of one size: then what the model computes has
// the same bits, and so have the records.
TEST_F(RunTelemetryTest, RanksAndMicroBatchesDoNotMatter) {
  RunConfig config = Config(6);
  config.optimizer.learning_rate = 1e-30;
  const auto train = [&](const std::string& name, int ranks, int64_t parts) {
    config.training.gradient_accumulation_steps = parts;
    ASSERT_TRUE(Train(config, name, ranks).ok());
  };
  train("1x6", 1, 6);
  const auto records = Records("1x6");
  EXPECT_EQ(records.size(), 4u);
  for (const auto& [ranks, parts] : {std::pair{2, 3}, {3, 2}}) {
    const std::string name = absl::StrCat(ranks, "x", parts);
    train(name, ranks, parts);
    EXPECT_EQ(Records(name), records) << name;
  }
  // Stopped with two ranks, resumed with three.
  config.training.gradient_accumulation_steps = 3;
  config.training.steps = 5;
  ASSERT_TRUE(Train(config, "other", 2).ok());
  config.training.gradient_accumulation_steps = 2;
  config.training.steps = 6;
  ASSERT_TRUE(Train(config, "other", 3).ok());
  EXPECT_EQ(Records("other"), records);
  const auto one = DiffCheckpoints(Checkpoint("1x6", 6), Checkpoint("other", 6));
  ASSERT_TRUE(one.ok());
  for (const DiffSection& section : one->sections) {
    if (section.name != "gates") continue;
    EXPECT_TRUE(section.equal()) << DiffText(*one);
  }
}

TEST_F(RunTelemetryTest, NeverIsNever) {
  RunConfig config = Config(4);
  config.telemetry.attention_statistics_every = 0;
  ASSERT_TRUE(Train(config, "never", 1).ok());
  EXPECT_TRUE(Records("never").empty());
  const auto state = ReadCheckpointTelemetry(Checkpoint("never", 4));
  ASSERT_TRUE(state.ok());
  EXPECT_TRUE(state->empty());
  // Without gates: of attention alone, also in the checkpoint.
  config = Config(4);
  config.model.attention.variant = "vanilla";
  ASSERT_TRUE(Train(config, "vanilla", 1).ok());
  ASSERT_EQ(Records("vanilla").size(), 1u);
  EXPECT_TRUE(ReadCheckpointGates(Checkpoint("vanilla", 4))->empty());
  EXPECT_EQ(ReadCheckpointAttention(Checkpoint("vanilla", 4))->looks, 1);
}

}  // namespace
}  // namespace sluice
