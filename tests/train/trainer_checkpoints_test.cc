// Which checkpoints a run leaves: none of its own is lost, and what comes after goes on from the
// right one.
#include <algorithm>
#include <fstream>
#include <map>

#include "checkpoint/diff.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/verify.h"
#include "core/error.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "support/sample_checkpoint.h"
#include "training_run.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using testing::TrainingRun;
using Steps = std::vector<int64_t>;

class TrainerCheckpointsTest : public TrainingRun {
 protected:
  std::string Folder(const std::string& run) { return Run(run) + "/checkpoints"; }
  Steps Present(const std::string& folder) { return ListCheckpointSteps(folder).value(); }
  std::optional<BestCheckpoint> Best(const std::string& run) {
    return ReadBestCheckpoint(Folder(run)).value();
  }
  void ExpectEqual(const std::string& a, const std::string& b) {
    const auto diff = DiffCheckpoints(a, b);
    ASSERT_TRUE(diff.ok()) << diff.status();
    EXPECT_TRUE(diff->equal()) << DiffText(*diff);
  }
};

TEST_F(TrainerCheckpointsTest, ARunThatStartsAnewKeepsItsOwn) {
  RunConfig config = Config(6);
  config.checkpoint.every = 2;
  config.checkpoint.keep_last = 2;
  ASSERT_TRUE(Train(config, "run", 1).ok());
  const Steps before = Present(Folder("run"));
  RunConfig anew = Config(3);
  anew.training.seed = 7;
  anew.checkpoint.every = 1;
  anew.checkpoint.keep_last = 1;
  ASSERT_TRUE(Train(anew, "run", 2, "none").ok());
  EXPECT_EQ(Present(Folder("run")).back(), 3);
  EXPECT_EQ(Present(Folder("run") + "/replaced_1"), before);
  EXPECT_TRUE(VerifyCheckpoint(Folder("run") + "/replaced_1/step_00000006").ok());
  ASSERT_TRUE(Best("run").has_value());
  EXPECT_LE(Best("run")->step, 3);
  EXPECT_THAT(testing::FileBytes(Run("run") + "/log.txt"),
              HasSubstr("steps 6, 4 that the folder had already are not deleted but moved to " +
                        Folder("run") + "/replaced_1"));
  // Going on is going on with the new one: the old one has another seed.
  anew.training.steps = 4;
  const absl::Status status = Train(anew, "run", 1);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Present(Folder("run")).back(), 4);
  EXPECT_FALSE(std::filesystem::exists(Folder("run") + "/replaced_2"));
}

TEST_F(TrainerCheckpointsTest, ARunThatGoesBackKeepsItsOwn) {
  RunConfig config = Config(5);
  config.training.evaluate_every = 1;
  config.checkpoint.every = 1;
  config.checkpoint.keep_last = 5;
  ASSERT_TRUE(Train(config, "run", 1).ok());
  ASSERT_TRUE(MarkBestCheckpoint(Folder("run"), {4, "validation/perplexity", 1}).ok());
  config.checkpoint.keep_last = 2;
  config.training.steps = 3;
  ASSERT_TRUE(Train(config, "run", 1, Checkpoint("run", 2)).ok());
  EXPECT_EQ(Present(Folder("run") + "/replaced_1"), (Steps{3, 4, 5}));
  EXPECT_TRUE(std::filesystem::exists(Folder("run") + "/replaced_1/best.yaml"));
  EXPECT_TRUE(std::filesystem::exists(Checkpoint("run", 2)));
  ExpectEqual(Checkpoint("run", 3), Folder("run") + "/replaced_1/step_00000003");
  ASSERT_TRUE(Train(config, "run", 1).ok());  // has nothing left to do
  EXPECT_FALSE(std::filesystem::exists(Folder("run") + "/replaced_2"));

  // Another run's checkpoint of a step that this folder has too.
  ASSERT_TRUE(Train(config, "other", 1).ok());
  ASSERT_TRUE(Train(config, "run", 1, Checkpoint("other", 3)).ok());
  EXPECT_EQ(Present(Folder("run") + "/replaced_2"), (Steps{3}));
}

// Perplexities of the run's log by step.
std::map<int64_t, double> Perplexities(const std::string& run_folder) {
  std::ifstream file(run_folder + "/metrics.jsonl");
  std::map<int64_t, double> found;
  for (std::string line; std::getline(file, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record["event"] == "evaluation") found[record["step"]] = record["perplexity"];
  }
  return found;
}

// Evaluations between two checkpoints set no bar that none on disk has.
TEST_F(TrainerCheckpointsTest, TheBestIsOneOfThem) {
  RunConfig config = Config(8);
  config.training.evaluate_every = 2;
  config.checkpoint.every = 3;
  config.checkpoint.keep_last = 1;
  config.optimizer.learning_rate = 0.3;  // gets worse, so that the best one is not the last
  ASSERT_TRUE(Train(config, "run", 2).ok());
  const std::map<int64_t, double> evaluated = Perplexities(Run("run"));
  Steps steps;
  for (const auto& [step, perplexity] : evaluated) steps.push_back(step);
  EXPECT_EQ(steps, (Steps{2, 3, 4, 6, 8}));
  EXPECT_LT(evaluated.at(2), evaluated.at(3));
  EXPECT_LT(evaluated.at(3), std::min(evaluated.at(6), evaluated.at(8)));
  EXPECT_EQ(Best("run"), (BestCheckpoint{3, "validation/perplexity", evaluated.at(3)}));
  EXPECT_EQ(Present(Folder("run")), (Steps{3, 8}));
  EXPECT_EQ(ReadCheckpointState(Checkpoint("run", 8)).value().best_step, 3);
  // As a run that is killed between a checkpoint and its mark leaves it.
  ASSERT_TRUE(MarkBestCheckpoint(Folder("run"), {8, "validation/perplexity", 1}).ok());
  ASSERT_TRUE(Train(config, "run", 2).ok());
  EXPECT_EQ(Best("run"), (BestCheckpoint{3, "validation/perplexity", evaluated.at(3)}));
}

TEST_F(TrainerCheckpointsTest, TheLastMayBeTheBest) {
  RunConfig config = Config(4);
  config.checkpoint.every = 2;
  config.training.evaluate_every = 3;
  ASSERT_TRUE(Train(config, "run", 1).ok());
  const std::map<int64_t, double> evaluated = Perplexities(Run("run"));
  ASSERT_LT(evaluated.at(4), evaluated.at(2));
  EXPECT_EQ(Best("run"), (BestCheckpoint{4, "validation/perplexity", evaluated.at(4)}));
  EXPECT_EQ(ReadCheckpointState(Checkpoint("run", 4)).value().best_metric, evaluated.at(4));
}

// Perplexities of other data, or of another part of them, are not compared with.
TEST_F(TrainerCheckpointsTest, OtherValidationDataHaveABestOfTheirOwn) {
  RunConfig config = Config(2);
  config.optimizer.learning_rate = 0.3;  // gets worse
  config.training.evaluate_every = 2;
  ASSERT_TRUE(Train(config, "run", 1).ok());
  ASSERT_EQ(ReadCheckpointState(Checkpoint("run", 2)).value().best_step, 2);
  config.training.steps = 4;
  testing::WriteDataset(folder() + "/other", testing::RandomDocuments(12, 61, 3), 61);
  std::filesystem::copy(folder() + "/valid", folder() + "/moved");
  struct Case {
    const char* validation;
    int64_t batches;
    int ranks;
    int64_t best;
  };
  // 2 batches of 12 rows before.
  for (const Case& now : {Case{"valid", 2, 1, 2}, Case{"moved", 2, 1, 2}, Case{"other", 2, 1, 4},
                          Case{"valid", 1, 1, 4}, Case{"valid", 2, 2, 4}, Case{"valid", 4, 2, 2}}) {
    const std::string run = absl::StrCat(now.validation, now.batches, now.ranks);
    SCOPED_TRACE(run);
    std::filesystem::copy(Run("run"), Run(run), std::filesystem::copy_options::recursive);
    config.data.validation = {folder() + "/" + now.validation};
    config.training.evaluation_batches = now.batches;
    const absl::Status status = Train(config, run, now.ranks);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_GT(Perplexities(Run(run)).at(4), Perplexities(Run(run)).at(2));
    EXPECT_EQ(ReadCheckpointState(Checkpoint(run, 4)).value().best_step, now.best);
    EXPECT_EQ(Best(run).value().step, now.best);
  }
}

// What was trained is not lost with an evaluation, neither at the end nor between.
TEST_F(TrainerCheckpointsTest, AFailedEvaluationLosesNothing) {
  for (const int64_t every : {0, 3}) {
    RunConfig config = Config(4);
    config.training.evaluate_every = every;
    config.checkpoint.keep_last = 1;
    const std::string run = absl::StrCat("run", every);
    RunConfig half = config;
    half.training.steps = 2;
    ASSERT_TRUE(Train(half, run, 2).ok());
    std::filesystem::rename(folder() + "/valid", folder() + "/whole");
    // Of [CLS] and [SEP] alone, which are no targets.
    testing::WriteDataset(folder() + "/valid", {testing::Document(20, testing::Row{2, 3})}, 61);
    const absl::Status status = Train(config, run, 2);
    std::filesystem::remove_all(folder() + "/valid");
    std::filesystem::rename(folder() + "/whole", folder() + "/valid");
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("no target to evaluate"));
    const int64_t last = every == 0 ? 4 : every;
    EXPECT_EQ(Present(Folder(run)), (Steps{2, last}));  // none was deleted for it
    EXPECT_TRUE(VerifyCheckpoint(Checkpoint(run, last)).ok());
    EXPECT_TRUE(Train(config, run, 2).ok());
    ASSERT_TRUE(Train(config, "straight" + run, 2).ok());
    for (const char* file : {"/model.h5", "/optimizer.h5"}) {
      EXPECT_TRUE(testing::FileBytes(Checkpoint(run, 4) + file) ==
                  testing::FileBytes(Checkpoint("straight" + run, 4) + file))
          << file;
    }
  }
}

}  // namespace
}  // namespace sluice
