#include "train/quantization_probe.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "data/open_batch_source.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "support/compute_threads.h"
#include "train/load_model.h"
#include "train/outlier_evaluation.h"
#include "train/training_run.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class QuantizationProbeTest : public testing::TrainingRun {
 protected:
  RunConfig Probing(int64_t steps, const std::string& precision = "fp32") const {
    RunConfig config = Config(steps, precision);
    config.checkpoint.every = 2;
    config.checkpoint.keep_last = 10;
    config.telemetry.quantization_probe = "auto";
    config.telemetry.quantization_probe_batches = 2;
    return config;
  }
  std::string Contents(const std::string& path) const {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::vector<nlohmann::json> Records(const std::string& run, const std::string& event) const {
    std::ifstream lines(Run(run) + "/metrics.jsonl");
    std::vector<nlohmann::json> records;
    for (std::string line; std::getline(lines, line);) {
      nlohmann::json record = nlohmann::json::parse(line);
      if (record["event"] == event) records.push_back(std::move(record));
    }
    return records;
  }
  // Losses of training, in the order of the steps.
  std::vector<double> Losses(const std::string& run) const {
    std::vector<double> losses;
    for (const nlohmann::json& record : Records(run, "train")) losses.push_back(record["loss"]);
    return losses;
  }
};

TEST_F(QuantizationProbeTest, TrainingDoesNotNoticeIt) {
  for (const char* precision : {"fp32", "bf16"}) {
    for (const int ranks : {1, 2}) {
      const std::string name = precision + std::to_string(ranks);
      RunConfig without = Probing(6, precision);
      without.telemetry.quantization_probe = "off";
      ASSERT_TRUE(Train(Probing(6, precision), "with" + name, ranks).ok());
      ASSERT_TRUE(Train(without, "without" + name, ranks).ok());
      EXPECT_EQ(Losses("with" + name).size(), 6);
      EXPECT_EQ(Losses("with" + name), Losses("without" + name));
      for (const int64_t step : {2, 4, 6}) {
        for (const char* file : {"/model.h5", "/optimizer.h5", "/gates.h5", "/state.yaml"}) {
          const std::string expected = Contents(Checkpoint("without" + name, step) + file);
          EXPECT_FALSE(expected.empty());
          EXPECT_TRUE(Contents(Checkpoint("with" + name, step) + file) == expected)
              << name << " step " << step << file;
        }
      }
      EXPECT_TRUE(Records("without" + name, "quantization").empty());
    }
  }
}

// What is recorded is what sluice quantize would say of the checkpoint.
TEST_F(QuantizationProbeTest, RecordsWhatQuantizingTheCheckpointGives) {
  ASSERT_TRUE(Train(Probing(4), "run", 2).ok());
  const std::vector<nlohmann::json> records = Records("run", "quantization");
  ASSERT_EQ(records.size(), 2);
  for (const nlohmann::json& record : records) {
    const LoadedModel model =
        LoadModel(Checkpoint("run", record["step"]), {.max_batch = 32, .precision = "fp32"})
            .value();
    const auto sources = OpenValidationSources(model.config).value();
    RunRanks(1, [&](Communicator& communicator) {
      const testing::ScopedComputeThreads one(1);  // as the run's, for products to the bit
      const QuantizationPreset preset = BertPreset();
      const auto batches = ReadBatches(*sources[0], preset.calibration_batches, 32).value();
      const double before =
          Evaluate(*model.engine, *sources[0], communicator, 32, 2).value().perplexity;
      const auto quantized =
          PostTrainingQuantization::Apply(*model.engine, batches, preset.options).value();
      const double after =
          Evaluate(*model.engine, *sources[0], communicator, 32, 2, &quantized->activations())
              .value()
              .perplexity;
      EXPECT_EQ(record["data"], sources[0]->name());
      EXPECT_DOUBLE_EQ(record["perplexity"], before);
      EXPECT_DOUBLE_EQ(record["quantized_perplexity"], after);
      EXPECT_DOUBLE_EQ(record["gap"], after - before);
      EXPECT_NE(after, before);
    });
  }
}

TEST_F(QuantizationProbeTest, KeepsTheBestByWhatItIsTold) {
  RunConfig config = Probing(6);
  config.training.evaluate_every = 2;
  config.checkpoint.keep_last = 1;
  config.optimizer.learning_rate = 0.3;  // gets worse, so that the best one is not the last
  for (const char* measure : {"quantized_perplexity", "perplexity", "none"}) {
    config.checkpoint.keep_best = measure;
    ASSERT_TRUE(Train(config, measure, 1).ok());
    const std::string best = Contents(Run(measure) + "/checkpoints/best.yaml");
    if (measure == std::string("none")) {
      EXPECT_TRUE(best.empty());
      continue;
    }
    double lowest = INFINITY;
    int64_t step = -1;
    const bool quantized = measure == std::string("quantized_perplexity");
    for (const nlohmann::json& record :
         Records(measure, quantized ? "quantization" : "evaluation")) {
      if (record[measure] >= lowest) continue;
      lowest = record[measure];
      step = record["step"];
    }
    EXPECT_THAT(best, HasSubstr(absl::StrCat("step: ", step)));
    EXPECT_THAT(best, HasSubstr(absl::StrCat("validation/", measure)));
    EXPECT_TRUE(std::filesystem::exists(Checkpoint(measure, step)));
  }
}

// A best one by another measure is not compared with.
TEST_F(QuantizationProbeTest, AnotherMeasureBeginsAnew) {
  RunConfig config = Probing(2);
  ASSERT_TRUE(Train(config, "run", 1).ok());
  config.checkpoint.keep_best = "quantized_perplexity";
  config.training.steps = 4;
  ASSERT_TRUE(Train(config, "run", 1).ok());
  EXPECT_THAT(Contents(Run("run") + "/checkpoints/best.yaml"),
              HasSubstr("validation/quantized_perplexity"));
}

TEST_F(QuantizationProbeTest, DescribesItsMemory) {
  RunRanks(1, [&](Communicator& communicator) {
    const auto trainer =
        Trainer::Create({.config = Probing(2), .run_folder = Run("dry")}, communicator).value();
    EXPECT_THAT(trainer->Describe(), HasSubstr("quantization probe's own fp32 model"));
  });
}

}  // namespace
}  // namespace sluice
