#include "checkpoint/retention.h"

#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/checkpoint_format.h"
#include "checkpoint/temporary_name.h"
#include "checkpoint/verify.h"
#include "checkpoint/writer.h"
#include "core/error.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using testing::MakeSampleCheckpoint;
using testing::SampleCheckpoint;
using testing::TemporaryFolder;
using Steps = std::vector<int64_t>;

class RetentionTest : public ::testing::Test {
 protected:
  void Write(const Steps& steps) {
    for (const int64_t step : steps) {
      SampleCheckpoint sample = MakeSampleCheckpoint(step);
      ASSERT_TRUE(WriteCheckpoint(checkpoints(), sample.Contents()).ok());
    }
  }
  void Damage(int64_t step, const std::string& file) {
    const std::string path = FolderOf(step) + "/" + file;
    std::string bytes = testing::FileBytes(path);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    testing::SetFileBytes(path, bytes);
  }
  Steps Present() { return ListCheckpointSteps(checkpoints()).value(); }
  std::string FolderOf(int64_t step) { return checkpoints() + "/" + CheckpointFolderName(step); }
  std::string checkpoints() { return folder_.path(); }

  TemporaryFolder folder_;
};

TEST_F(RetentionTest, KeepsTheNewest) {
  Write({100, 200, 300, 400});
  EXPECT_EQ(ApplyRetention(checkpoints(), {.keep_last = 2}).value(), (Steps{100, 200}));
  EXPECT_EQ(Present(), (Steps{300, 400}));
  EXPECT_EQ(ApplyRetention(checkpoints(), {.keep_last = 5}).value(), Steps{});
  EXPECT_EQ(ApplyRetention(checkpoints(), {.keep_last = 1}).value(), (Steps{300}));
  EXPECT_EQ(testing::NamesIn(checkpoints()), (std::vector<std::string>{"step_00000400"}));
}

// Whatever its step: a run that went back writes steps that are lower than others' in its folder.
TEST_F(RetentionTest, KeepsTheOneJustWritten) {
  Write({20, 300, 400});
  EXPECT_EQ(ApplyRetention(checkpoints(), {.keep_last = 1, .written = 20}).value(), (Steps{300}));
  EXPECT_EQ(Present(), (Steps{20, 400}));
  Damage(20, kModelFile);
  Write({100});
  EXPECT_EQ(ExitCodeOf(ApplyRetention(checkpoints(), {.keep_last = 1, .written = 20}).status()),
            ExitCode::kCheckpoint);
  EXPECT_EQ(Present(), (Steps{20, 100, 400}));
}

TEST_F(RetentionTest, SetsLaterOnesAside) {
  EXPECT_EQ(SetAsideCheckpoints(checkpoints(), 1).value().folder, "");
  Write({100, 200, 300, 400});
  Damage(400, kManifestFile);
  ASSERT_TRUE(MarkBestCheckpoint(checkpoints(), {200, "validation/perplexity", 12}).ok());
  EXPECT_EQ(SetAsideCheckpoints(checkpoints(), 401).value().folder, "");
  const SetAside first = SetAsideCheckpoints(checkpoints(), 201).value();
  EXPECT_EQ(first.folder, checkpoints() + "/replaced_1");
  EXPECT_EQ(first.steps, (Steps{400, 300}));
  EXPECT_EQ(
      testing::NamesIn(checkpoints()),
      (std::vector<std::string>{"best.yaml", "replaced_1", "step_00000100", "step_00000200"}));
  EXPECT_TRUE(VerifyCheckpoint(first.folder + "/step_00000300").ok());

  // With the best one goes its mark, and nothing that is aside already is touched.
  const SetAside second = SetAsideCheckpoints(checkpoints(), 200).value();
  EXPECT_EQ(second.folder, checkpoints() + "/replaced_2");
  EXPECT_EQ(testing::NamesIn(second.folder),
            (std::vector<std::string>{"best.yaml", "step_00000200"}));
  EXPECT_EQ(testing::NamesIn(checkpoints()),
            (std::vector<std::string>{"replaced_1", "replaced_2", "step_00000100"}));
  EXPECT_EQ(FindNewestCheckpoint(checkpoints()).value().step, 100);
  EXPECT_TRUE(RemoveAbandonedFolders(checkpoints()).value().empty());
}

TEST_F(RetentionTest, KeepsTheBestToo) {
  Write({100, 200, 300, 400});
  EXPECT_EQ(ReadBestCheckpoint(checkpoints()).value(), std::nullopt);
  const BestCheckpoint best{200, "validation/perplexity", 12.3};
  ASSERT_TRUE(MarkBestCheckpoint(checkpoints(), {100, "validation/perplexity", 45}).ok());
  ASSERT_TRUE(MarkBestCheckpoint(checkpoints(), best).ok());
  EXPECT_EQ(ReadBestCheckpoint(checkpoints()).value(), best);
  EXPECT_EQ(ApplyRetention(checkpoints(), {.keep_last = 1}).value(), (Steps{100, 300}));
  EXPECT_EQ(Present(), (Steps{200, 400}));
  EXPECT_EQ(ApplyRetention(checkpoints(), {.keep_last = 1, .keep_best = false}).value(),
            (Steps{200}));
}

TEST_F(RetentionTest, ADamagedMarkIsAnErrorAndDeletesNothing) {
  Write({100, 200});
  testing::SetFileBytes(checkpoints() + "/best.yaml", "step: many\n");
  EXPECT_EQ(ExitCodeOf(ApplyRetention(checkpoints(), {.keep_last = 1}).status()),
            ExitCode::kCheckpoint);
  EXPECT_EQ(Present(), (Steps{100, 200}));
}

TEST_F(RetentionTest, BrokenOnesDoNotCountAndStay) {
  Write({100, 200, 300, 400});
  std::filesystem::remove(FolderOf(300) + "/manifest.yaml");
  EXPECT_EQ(ApplyRetention(checkpoints(), {.keep_last = 2}).value(), (Steps{100}));
  EXPECT_EQ(Present(), (Steps{200, 300, 400}));
}

TEST_F(RetentionTest, NeverDeletesWhenTheNewestKeptIsDamaged) {
  Write({100, 200});
  Damage(200, kModelFile);
  const absl::Status status = ApplyRetention(checkpoints(), {.keep_last = 1}).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_EQ(Present(), (Steps{100, 200})) << "step 100 is the only whole one";
}

TEST_F(RetentionTest, RemovesWhatKilledProcessesLeft) {
  Write({100});
  const pid_t child = fork();
  if (child == 0) {
    std::filesystem::create_directories(checkpoints() + "/" +
                                        checkpoint_internal::TemporaryFolderName(200));
    _exit(0);
  }
  int wait_status = 0;
  ASSERT_EQ(waitpid(child, &wait_status, 0), child);  // from now on there is no such process
  ASSERT_EQ(wait_status, 0);
  const std::string of_living =
      "/.step_00000300.tmp-" +
      checkpoint_internal::TemporaryFolderName(1).substr(std::string(".step_00000001.tmp-").size());
  const std::string own = checkpoints() + of_living;
  const std::string parent =
      own.substr(0, own.rfind('-') + 1) + std::to_string(getppid());  // runs: it waits for us
  const std::string elsewhere = checkpoints() + "/.step_00000400.tmp-some-other-host-1";
  const std::string old_elsewhere = checkpoints() + "/.step_00000500.tmp-some-other-host-1";
  const std::string not_ours = checkpoints() + "/.step_x.tmp-notes-1";
  for (const std::string& path : {own, parent, elsewhere, old_elsewhere, not_ours}) {
    std::filesystem::create_directories(path + "/inside");
  }
  std::filesystem::last_write_time(
      old_elsewhere, std::filesystem::file_time_type::clock::now() - std::chrono::hours(25));
  const std::vector<std::string> removed = RemoveAbandonedFolders(checkpoints()).value();
  EXPECT_EQ(removed.size(), 3u);  // the child's, this process's own, and the old one
  EXPECT_FALSE(std::filesystem::exists(own));
  EXPECT_FALSE(std::filesystem::exists(old_elsewhere));
  EXPECT_TRUE(std::filesystem::exists(parent));
  EXPECT_TRUE(std::filesystem::exists(elsewhere));
  EXPECT_TRUE(std::filesystem::exists(not_ours));
  EXPECT_EQ(Present(), (Steps{100}));
  EXPECT_EQ(RemoveAbandonedFolders(checkpoints() + "/nowhere").value(), std::vector<std::string>{});
}

}  // namespace
}  // namespace sluice
