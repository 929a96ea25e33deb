// A process that dies, or a disk that is full, at any point of writing a checkpoint.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "checkpoint/retention.h"
#include "checkpoint/verify.h"
#include "checkpoint/writer.h"
#include "core/error.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using testing::MakeSampleCheckpoint;
using testing::SampleCheckpoint;
using testing::TemporaryFolder;

constexpr int kNotReached = 99;

class WriteFailureTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SampleCheckpoint old = MakeSampleCheckpoint(100);
    ASSERT_TRUE(WriteCheckpoint(folder_.path(), old.Contents()).ok());
  }

  // Runs `body` in a child and returns what waitpid says.
  template <typename Body>
  int InChild(const Body& body) {
    const pid_t child = fork();
    if (child == 0) {
      body();
      _exit(kNotReached);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return status;
  }

  void ExpectNewestIs(int64_t step) {
    const absl::StatusOr<NewestCheckpoint> newest = FindNewestCheckpoint(folder_.path());
    ASSERT_TRUE(newest.ok()) << newest.status();
    EXPECT_EQ(newest->step, step);
    EXPECT_TRUE(newest->skipped.empty()) << newest->skipped[0].reason;
  }

  TemporaryFolder folder_;
  SampleCheckpoint next_ = MakeSampleCheckpoint(200);
};

// Files must not grow beyond `bytes`: writing fails with EFBIG, as it fails with ENOSPC on a full
// disk, or the process dies by SIGXFSZ.
void LimitFileSize(rlim_t bytes, bool die) {
  signal(SIGXFSZ, die ? SIG_DFL : SIG_IGN);
  const rlimit limit{bytes, bytes};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(98);
}

TEST_F(WriteFailureTest, KilledBetweenAnyTwoSteps) {
  std::vector<std::string> steps;
  const std::string elsewhere = folder_.path() + "/elsewhere";
  ASSERT_TRUE(WriteCheckpoint(elsewhere, next_.Contents(),
                              {.on_progress = [&](auto done) { steps.emplace_back(done); }})
                  .ok());
  ASSERT_EQ(steps, (std::vector<std::string>{"model.h5", "optimizer.h5", "gates.h5", "state.yaml",
                                             "config.yaml", "manifest.yaml", "synced", "renamed"}));
  for (const std::string& last : steps) {
    const int status = InChild([&] {
      (void)WriteCheckpoint(folder_.path(), next_.Contents(), {.on_progress = [&](auto done) {
                              if (done == last) _exit(0);
                            }});
    });
    EXPECT_EQ(status, 0) << last;
    ExpectNewestIs(last == "renamed" ? 200 : 100);
    EXPECT_EQ(RemoveAbandonedFolders(folder_.path()).value().size(), last == "renamed" ? 0u : 1u);
  }
}

TEST_F(WriteFailureTest, KilledInTheMiddleOfAFile) {
  for (const rlim_t limit : {1, 1000, 50000, 90000}) {
    const int status = InChild([&] {
      LimitFileSize(limit, /*die=*/true);
      (void)WriteCheckpoint(folder_.path(), next_.Contents());
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) << limit << ": " << status;
    ExpectNewestIs(100);
    EXPECT_EQ(RemoveAbandonedFolders(folder_.path()).value().size(), 1u);
  }
}

TEST_F(WriteFailureTest, AFullDiskIsAnErrorAndLeavesNothing) {
  for (const rlim_t limit : {0, 1, 1000, 50000, 90000, 95000, 100000}) {
    const int status = InChild([&] {
      LimitFileSize(limit, /*die=*/false);
      const absl::Status written = WriteCheckpoint(folder_.path(), next_.Contents());
      if (ExitCodeOf(written) != ExitCode::kDevice) _exit(1);
      if (!absl::StrContains(written.message(), ".h5") ||
          !absl::StrContains(written.message(), "File too large")) {
        _exit(2);
      }
      if (testing::NamesIn(folder_.path()) != std::vector<std::string>{"step_00000100"}) _exit(3);
      exit(0);  // HDF5's own clean-up at exit runs, and must not stumble over the failed file
    });
    EXPECT_EQ(status, 0) << "limit " << limit << ": "
                         << (WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    ExpectNewestIs(100);
  }
}

TEST_F(WriteFailureTest, AfterAFailureTheNextOneIsWritten) {
  const int status = InChild([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit small{50000, RLIM_INFINITY}, large{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &small) != 0) _exit(98);
    if (WriteCheckpoint(folder_.path(), next_.Contents()).ok()) _exit(1);
    if (setrlimit(RLIMIT_FSIZE, &large) != 0) _exit(97);
    if (!WriteCheckpoint(folder_.path(), next_.Contents()).ok()) _exit(2);
    exit(0);
  });
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
  ExpectNewestIs(200);
}

TEST_F(WriteFailureTest, WhatTheFileSystemRefusesIsNamed) {
  testing::SetFileBytes(folder_.path() + "/file", "x");
  const absl::Status no_folder = WriteCheckpoint(folder_.path() + "/file/run", next_.Contents());
  EXPECT_EQ(ExitCodeOf(no_folder), ExitCode::kDevice);
  EXPECT_TRUE(absl::StrContains(no_folder.message(), "cannot create folder")) << no_folder;

  next_.contents.files = {folder_.path() + "/no_vocab.txt"};
  const absl::Status no_file = WriteCheckpoint(folder_.path(), next_.Contents());
  EXPECT_EQ(no_file.message(),
            "cannot open file: " + folder_.path() + "/no_vocab.txt: No such file or directory");
  EXPECT_EQ(testing::NamesIn(folder_.path()), (std::vector<std::string>{"file", "step_00000100"}));
}

}  // namespace
}  // namespace sluice
