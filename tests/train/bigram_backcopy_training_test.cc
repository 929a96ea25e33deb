// The Bigram-Backcopy task learned from end to end: generated data, pre-LN decoder, trainer. How
// low the loss can get is known exactly (data/bigram_backcopy.h).
#include <cmath>
#include <fstream>

#include "comm/thread_communicator.h"
#include "config/load.h"
#include "core/error.h"
#include "data/bigram_backcopy.h"
#include "data/open_batch_source.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"
#include "train/evaluation.h"
#include "train/trainer.h"

namespace sluice {
namespace {

// Loss of the held-out sequences after `steps` updates of `config_file`, in nats.
double LossAfter(const std::string& config_file, int64_t steps) {
  const testing::TemporaryFolder folder;
  auto config = LoadRunConfig(
      config_file, {"training.steps=" + std::to_string(steps), "training.evaluate_every=0",
                    "training.log_every=100000", "checkpoint.every=0"});
  EXPECT_TRUE(config.ok()) << config.status();
  double loss = std::nan("");
  RunRanks(1, [&](Communicator& communicator) {
    auto trainer =
        Trainer::Create({.config = *config, .run_folder = folder.path() + "/run"}, communicator);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    ASSERT_TRUE((*trainer)->Run().ok());
    auto sources = OpenValidationSources(*config);
    ASSERT_TRUE(sources.ok()) << sources.status();
    const auto result = Evaluate((*trainer)->engine(), *sources->front(), communicator,
                                 config->training.global_batch_size, 0);
    ASSERT_TRUE(result.ok()) << result.status();
    loss = result->loss;
  });
  return loss;
}

// Guessing costs ln 65 = 4.17 nats, knowing how often each token occurs about 3.4; without looking
// back at all the trigger queries alone, a quarter of all, would cost some 0.6 nats over the floor.
TEST(BigramBackcopyTrainingTest, LearnsBigramsAndCopies) {
  const double floor = ExactStatistics(BigramBackcopy::Synthetic(), 64).loss_floor;
  EXPECT_NEAR(floor, 1.70745, 1e-4);
  const double loss = LossAfter("configs/bigram_backcopy/small.yaml", 300);
  std::printf("loss %.4f after 300 updates, floor %.4f\n", loss, floor);
  EXPECT_LT(loss, floor + 0.25);
  EXPECT_GT(loss, floor - 0.02);  // 16,384 held-out tokens: a standard error of about 0.01
}

// Lines of event bigram_backcopy of a run of 40 updates that is started as often as `ends` says.
std::vector<std::string> SinkLines(const std::vector<int64_t>& ends) {
  const testing::TemporaryFolder folder;
  const std::string run = folder.path() + "/run";
  for (int64_t end : ends) {
    auto config = LoadRunConfig(
        "configs/bigram_backcopy/vga_small.yaml",
        {"training.steps=" + std::to_string(end), "training.evaluate_every=0", "checkpoint.every=0",
         "training.global_batch_size=4", "data.validation_sequences=6", "schedule.warmup_steps=5",
         "telemetry.bigram_backcopy_every_early=4", "telemetry.bigram_backcopy_early_steps=12",
         "telemetry.bigram_backcopy_every=20"});
    EXPECT_TRUE(config.ok()) << config.status();
    RunRanks(1, [&](Communicator& communicator) {
      auto trainer = Trainer::Create({.config = *config, .run_folder = run}, communicator);
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      ASSERT_TRUE((*trainer)->Run().ok());
    });
  }
  std::ifstream file(run + "/metrics.jsonl");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.find("\"event\":\"bigram_backcopy\"") != std::string::npos) lines.push_back(line);
  }
  return lines;
}

// A text that was written to is another task, though it has the same characters.
TEST(BigramBackcopyTrainingTest, ARunGoesOnWithItsOwnText) {
  const testing::TemporaryFolder folder;
  const std::string text = folder.path() + "/text.txt";
  std::ofstream(text) << "a gate that opens at once floods the lock, and boats go under";
  const auto train = [&](const std::string& more, const std::string& sequences = "256") {
    auto config = LoadRunConfig(
        "configs/bigram_backcopy/vga_small.yaml",
        {"data.table=" + text, "training.evaluate_every=0", "checkpoint.every=0",
         "training.global_batch_size=4", "schedule.warmup_steps=0",
         "telemetry.bigram_backcopy_every_early=0", "telemetry.bigram_backcopy_every=0",
         "data.validation_sequences=" + sequences, more});
    EXPECT_TRUE(config.ok()) << config.status();
    absl::Status status;
    RunRanks(1, [&](Communicator& communicator) {
      auto trainer =
          Trainer::Create({.config = *config, .run_folder = folder.path() + "/run"}, communicator);
      status = trainer.ok() ? (*trainer)->Run() : trainer.status();
    });
    return status;
  };
  EXPECT_TRUE(train("training.steps=1").ok());
  EXPECT_TRUE(train("training.steps=2").ok());
  // Its records would be of two sets.
  EXPECT_EQ(ExitCodeOf(train("training.steps=3", "128")), ExitCode::kUsage);
  std::ofstream(text, std::ios::app) << " the gate";
  const absl::Status refused = train("training.steps=3");
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kCheckpoint) << refused;
  EXPECT_NE(refused.message().find("another text than data.table"), std::string::npos) << refused;
}

TEST(BigramBackcopyTrainingTest, SinksAreRecordedOnTheGridAndOnceWhenARunGoesOn) {
  const std::vector<std::string> straight = SinkLines({40}), resumed = SinkLines({20, 40});
  EXPECT_EQ(resumed, straight);
  const int64_t steps[] = {0, 4, 8, 12, 20, 40};
  ASSERT_EQ(straight.size(), std::size(steps));
  for (size_t i = 0; i < straight.size(); ++i) {
    const auto json = nlohmann::json::parse(straight[i]);
    EXPECT_EQ(json["step"], steps[i]);
    EXPECT_TRUE(json.contains("layer_0.gate_trigger"));
    EXPECT_FALSE(json.contains("layer_0.gated_value_norm_start"));  // a gate at the query site
    EXPECT_EQ(json.contains("no_attention.backcopy_risk"), steps[i] % 20 == 0) << steps[i];
  }
}

}  // namespace
}  // namespace sluice
