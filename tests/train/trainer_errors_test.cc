// A run that cannot go on says why, with its exit code, on every rank, and loses nothing.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "checkpoint/verify.h"
#include "core/error.h"
#include "train/load_model.h"
#include "training_run.h"

namespace sluice {
namespace {

using testing::TrainingRun;

class TrainerErrorsTest : public TrainingRun {
 protected:
  void ExpectError(const absl::Status& status, ExitCode code, const std::string& part) {
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << status;
  }
};

TEST_F(TrainerErrorsTest, DivergenceStopsBeforeTheWeightsAreTouched) {
  RunConfig config = Config(50);
  config.optimizer.learning_rate = 1e30;
  config.optimizer.max_grad_norm = 0;
  config.checkpoint.every = 1;
  const absl::Status status = Train(config, "diverged", 2);
  ExpectError(status, ExitCode::kDiverged, "");
}

TEST_F(TrainerErrorsTest, OtherSettingsAreRefusedByName) {
  ASSERT_TRUE(Train(Config(2), "run", 1).ok());
  RunConfig other = Config(4);
  other.optimizer.beta2 = 0.95;
  other.training.seed = 5;
  const absl::Status status = Train(other, "run", 2);
  ExpectError(status, ExitCode::kUsage, "optimizer.beta2 was 0.999");
  ExpectError(status, ExitCode::kUsage, "training.seed was 1000, is 5");
  RunConfig longer = Config(3);  // steps may change
  EXPECT_TRUE(Train(longer, "run", 1).ok());
}

TEST_F(TrainerErrorsTest, ResumingPastTheEndOrFromNowhere) {
  ASSERT_TRUE(Train(Config(3), "run", 1).ok());
  ExpectError(Train(Config(2), "run", 1), ExitCode::kUsage, "past training.steps");
  ExpectError(Train(Config(4), "run", 1, Run("nowhere")), ExitCode::kCheckpoint,
              "no such checkpoint");
  EXPECT_TRUE(Train(Config(4), "other", 1, Checkpoint("run", 3)).ok());
  EXPECT_TRUE(Train(Config(2), "run", 1, "none").ok());  // starts anew
}

TEST_F(TrainerErrorsTest, DamagedCheckpointsAreSkippedOrRefused) {
  RunConfig config = Config(4);
  config.checkpoint.every = 2;
  ASSERT_TRUE(Train(config, "run", 1).ok());
  {
    std::fstream model(Checkpoint("run", 4) + "/model.h5",
                       std::ios::in | std::ios::out | std::ios::binary);
    model.seekp(5000);
    model.put('\x55');
    model.put('\xAA');
  }
  const auto resolved = ResolveCheckpoint(Run("run"));
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(*resolved, Checkpoint("run", 2));  // the newest whole one
  ExpectError(Train(config, "new", 1, Checkpoint("run", 4)), ExitCode::kCheckpoint, "model.h5");
}

TEST_F(TrainerErrorsTest, DataThatDoesNotFit) {
  RunConfig config = Config(2);
  config.data.train = Run("absent");
  ExpectError(Train(config, "a", 2), ExitCode::kData, "absent");
  config = Config(2);
  config.model.vocab_size = 60;
  ExpectError(Train(config, "b", 2), ExitCode::kData, "61 > 60");
  testing::WriteDataset(Run("other"), testing::RandomDocuments(12, 67, 2), 67);
  config = Config(2);
  config.data.validation = {Run("other")};
  ExpectError(Train(config, "c", 1), ExitCode::kData, "different tokenizers");
  config = Config(2);
  config.model.next_sentence_head = true;
  ExpectError(Train(config, "d", 1), ExitCode::kData, "no sentence pairs");
  for (const char* run : {"a", "b", "c"}) EXPECT_FALSE(std::filesystem::exists(Run(run))) << run;
}

TEST_F(TrainerErrorsTest, ABatchThatDoesNotDivide) {
  ExpectError(Train(Config(2), "a", 5), ExitCode::kUsage, "global_batch_size");
}

TEST_F(TrainerErrorsTest, ARunFolderThatCannotBeWritten) {
  std::ofstream(Run("file")) << "in the way";
  ExpectError(Train(Config(2), "file", 2), ExitCode::kDevice, "run folder");
}

TEST_F(TrainerErrorsTest, ASignalStopsTheRunWithACheckpointToGoOnFrom) {
  RunConfig config = Config(1000000);
  absl::Status status;
  RunRanks(2, [&](Communicator& communicator) {
    auto trainer = Trainer::Create({.config = config, .run_folder = Run("stopped")}, communicator);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    if (communicator.rank() == 1) {
      // Once the trainer listens, from a thread of its own, as `kill` would.
      std::thread([pid = getpid()] {
        struct sigaction current = {};
        do {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          sigaction(SIGTERM, nullptr, &current);
        } while (current.sa_handler == SIG_DFL);
        kill(pid, SIGTERM);
      }).detach();
    }
    const absl::Status rank_status = (*trainer)->Run();
    if (communicator.rank() == 0) status = rank_status;
  });
  ExpectError(status, ExitCode::kResumable, "stopped on request");
  const auto checkpoint = ResolveCheckpoint(Run("stopped"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(VerifyCheckpoint(*checkpoint).ok());
}

}  // namespace
}  // namespace sluice
