// Which checkpoints a run leaves: none of its own is lost, and what comes after goes on from the
// right one.
#include <fstream>

#include "checkpoint/diff.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/verify.h"
#include "core/error.h"
#include "gmock/gmock.h"
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

}  // namespace
}  // namespace sluice
