// BERT with its next-sentence head on files of NVIDIA's layout: trains, evaluates, resumes bit for
// bit, and does without a vocabulary.
#include <filesystem>
#include <fstream>

#include "checkpoint/diff.h"
#include "checkpoint/verify.h"
#include "core/error.h"
#include "data/nvidia_bert_for_tests.h"
#include "data/open_batch_source.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "train/load_model.h"
#include "training_run.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using testing::RandomNvidiaBert;
using testing::TrainingRun;
using testing::WriteNvidiaBert;

class NvidiaBertTrainingTest : public TrainingRun {
 protected:
  NvidiaBertTrainingTest() {
    std::filesystem::create_directory(Run("pairs"));
    WriteNvidiaBert(Run("pairs/a.hdf5"), RandomNvidiaBert(41, 16, 4, 61, 1));
    WriteNvidiaBert(Run("pairs/b.hdf5"), RandomNvidiaBert(30, 16, 3, 61, 2));
    WriteNvidiaBert(Run("held_out.hdf5"), RandomNvidiaBert(25, 16, 4, 61, 3));
  }

  RunConfig PairsConfig(int64_t steps, const std::string& precision = "fp32") const {
    RunConfig config = Config(steps, precision);
    config.model.next_sentence_head = true;
    config.model.vocab_size = 61;
    config.data.source = "nvidia_bert";
    config.data.train = Run("pairs");
    config.data.validation = {Run("held_out.hdf5")};
    config.training.evaluation_batches = 0;
    return config;
  }

  nlohmann::json LastRecord(const std::string& run, const std::string& kind) const {
    std::ifstream metrics(Run(run) + "/metrics.jsonl");
    nlohmann::json found;
    for (std::string line; std::getline(metrics, line);) {
      const nlohmann::json record = nlohmann::json::parse(line);
      for (const auto& item : record.items()) {
        if (item.value() == kind) found = record;
      }
    }
    return found;
  }

  static void ExpectError(const absl::Status& status, ExitCode code, const std::string& message) {
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
};

TEST_F(NvidiaBertTrainingTest, ResumedRunEqualsTheStraightOneBitForBit) {
  for (int ranks : {1, 2}) {
    const std::string straight = "straight" + std::to_string(ranks),
                      resumed = "resumed" + std::to_string(ranks);
    RunConfig config = PairsConfig(10);  // 120 samples of 71: the second epoch begins in between
    config.checkpoint.every = 5;
    ASSERT_TRUE(Train(config, straight, ranks).ok());
    RunConfig half = config;
    half.training.steps = 5;
    ASSERT_TRUE(Train(half, resumed, ranks).ok());
    ASSERT_TRUE(Train(config, resumed, ranks).ok());
    const auto diff = DiffCheckpoints(Checkpoint(straight, 10), Checkpoint(resumed, 10));
    ASSERT_TRUE(diff.ok()) << diff.status();
    EXPECT_TRUE(diff->equal()) << DiffText(*diff);
  }
}

TEST_F(NvidiaBertTrainingTest, CheckpointsCarryNoVocabulary) {
  ASSERT_TRUE(Train(PairsConfig(3, "bf16"), "run", 2).ok());
  const std::string checkpoint = Checkpoint("run", 3);
  EXPECT_TRUE(VerifyCheckpoint(checkpoint).ok());
  EXPECT_FALSE(std::filesystem::exists(checkpoint + "/vocab.txt"));
  // Another number of ids is another model.
  RunConfig other = PairsConfig(6, "bf16");
  other.model.vocab_size = 64;
  ExpectError(Train(other, "run", 2), ExitCode::kUsage, "model.vocab_size was 61, is 64");
  other = PairsConfig(6, "bf16");
  other.data.source = "shards";
  other.data.train = Run("train");
  other.data.validation = {Run("valid")};
  ExpectError(Train(other, "run", 2), ExitCode::kUsage, "data.source was nvidia_bert, is shards");
}

TEST_F(NvidiaBertTrainingTest, EvaluationIsThatOfTheStoredMasks) {
  ASSERT_TRUE(Train(PairsConfig(3), "run", 1).ok());
  int64_t targets = 0;
  testing::NvidiaBertData held_out = RandomNvidiaBert(25, 16, 4, 61, 3);
  for (int64_t position : held_out.values["masked_lm_positions"]) targets += position != 0;
  const nlohmann::json record = LastRecord("run", "evaluation");
  EXPECT_EQ(record["targets"], targets);
  EXPECT_EQ(record["sequences"], 25);
  EXPECT_EQ(record["data"], Run("held_out.hdf5"));
  for (int ranks : {1, 2}) {
    RunRanks(ranks, [&](Communicator& communicator) {
      auto model = LoadModel(Run("run"), {.max_batch = 12});
      ASSERT_TRUE(model.ok()) << model.status();
      auto source = OpenEvaluationSource(model->config, Run("held_out.hdf5"));
      ASSERT_TRUE(source.ok()) << source.status();
      const auto result = Evaluate(*model->engine, **source, communicator, 12, 0);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->targets, targets);
      const double loss = record["loss"].get<double>();
      EXPECT_NEAR(result->loss, loss, 1e-12 * loss);  // doubles in another order
    });
  }
}

// The labels reach the loss: with all labels alike the head learns them, and the loss that is
// reported falls by nearly the ln 2 that a guess costs.
TEST_F(NvidiaBertTrainingTest, TheNextSentenceIsLearned) {
  testing::NvidiaBertData data = RandomNvidiaBert(48, 16, 4, 61, 4);
  for (int64_t& label : data.values["next_sentence_labels"]) label = 1;
  WriteNvidiaBert(Run("alike.hdf5"), data);
  RunConfig with = PairsConfig(12);
  with.data.train = Run("alike.hdf5");
  with.data.validation = {};
  RunConfig without = with;
  without.model.next_sentence_head = false;
  ASSERT_TRUE(Train(with, "with", 1).ok());
  ASSERT_TRUE(Train(without, "without", 1).ok());
  const auto loss = [&](const std::string& run) {
    return LastRecord(run, "train")["loss"].get<double>();
  };
  // The masked tokens are random: 12 updates move their loss by less than this in either run.
  EXPECT_NEAR(loss("with"), loss("without"), 0.35);
  EXPECT_GT(loss("without"), 3);
}

TEST_F(NvidiaBertTrainingTest, DataThatDoesNotFit) {
  RunConfig config = PairsConfig(2);
  config.model.vocab_size = 60;
  ExpectError(Train(config, "a", 2), ExitCode::kData, "expected an id below 60");
  config = PairsConfig(2);
  config.data.validation = {Run("absent.hdf5")};
  ExpectError(Train(config, "b", 1), ExitCode::kData, "absent.hdf5");
  config = PairsConfig(2);
  config.data.sequence_length = 8;
  ExpectError(Train(config, "c", 1), ExitCode::kData, "16 tokens, data.sequence_length 8");
  config = PairsConfig(2);
  config.model.vocab_size = 0;
  ExpectError(Train(config, "d", 2), ExitCode::kUsage, "model.vocab_size must be set");
  for (const char* run : {"b", "c", "d"}) EXPECT_FALSE(std::filesystem::exists(Run(run))) << run;
}

}  // namespace
}  // namespace sluice
