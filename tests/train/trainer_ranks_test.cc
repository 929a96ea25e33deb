// What happens to all ranks when one of them fails or sees other files.
#include "checkpoint/verify.h"
#include "core/error.h"
#include "faulty_communicator.h"
#include "gmock/gmock.h"
#include "training_run.h"

namespace sluice {
namespace {

using testing::FaultyCommunicator;
using ::testing::HasSubstr;
using testing::TrainingRun;

class TrainerRanksTest : public TrainingRun {
 protected:
  struct Outcome {
    absl::Status status;
    bool failed_alone = false;
  };
  // Trains with two ranks, of which rank 1 has `faults`, in the run folders `runs`.
  std::array<Outcome, 2> TrainFaulty(const RunConfig& config, std::array<std::string, 2> runs,
                                     const FaultyCommunicator::Faults& faults) {
    std::array<Outcome, 2> outcomes;
    RunRanks(2, [&](Communicator& real) {
      const int rank = real.rank();
      FaultyCommunicator communicator(real, rank == 1 ? faults : FaultyCommunicator::Faults());
      auto trainer =
          Trainer::Create({.config = config, .run_folder = Run(runs[rank])}, communicator);
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      outcomes[rank].status = (*trainer)->Run();
      outcomes[rank].failed_alone = (*trainer)->failed_alone();
    });
    return outcomes;
  }
};

TEST_F(TrainerRanksTest, BucketsThatFailOnOneRankEndAllAndAreNotApplied) {
  RunConfig config = Config(4);
  config.checkpoint.every = 1;
  config.checkpoint.keep_last = 4;
  int waits = 0;
  const auto outcomes =
      TrainFaulty(config, {"run", "run"}, {.after_wait_all = [&] {
                    return ++waits == 3 ? DeviceError("the cable is loose") : absl::OkStatus();
                  }});
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(ExitCodeOf(outcome.status), ExitCode::kDevice);
    EXPECT_EQ(outcome.status.message(), "rank 1: the cable is loose");
    EXPECT_FALSE(outcome.failed_alone);
  }
  EXPECT_EQ(ListCheckpointSteps(Run("run") + "/checkpoints").value(), (std::vector<int64_t>{1, 2}));
}

// The sum that would tell the others is what fails.
TEST_F(TrainerRanksTest, ARankThatCannotTellFailsAlone) {
  RunConfig config = Config(4);
  int sums = 0;
  const auto outcomes =
      TrainFaulty(config, {"run", "run"}, {.instead_of_sum_of_doubles = [&] {
                    return ++sums == 4 ? DeviceError("the cable is loose") : absl::OkStatus();
                  }});
  EXPECT_EQ(outcomes[1].status.message(), "the cable is loose");
  EXPECT_TRUE(outcomes[1].failed_alone);
  // In threads the others hear that it is gone; processes wait until it ends them.
  EXPECT_THAT(std::string(outcomes[0].status.message()), HasSubstr("a rank has left"));
}

// Rank 1's machine has a disk of its own where rank 0 has the run "a": there it sees "b".
FaultyCommunicator::Faults SeesAnotherDisk() {
  return {.after_broadcast = [](std::span<char> bytes) {
    const std::string_view path(bytes.data(), bytes.size());
    const size_t found = path.find("/a/checkpoints");
    if (found != std::string_view::npos) bytes[found + 1] = 'b';
  }};
}

// What rank 1 finds by itself does not matter.
TEST_F(TrainerRanksTest, RankZeroFindsTheCheckpointForAll) {
  RunConfig config = Config(4);
  config.checkpoint.every = 2;
  config.checkpoint.keep_last = 9;
  ASSERT_TRUE(Train(config, "a", 2).ok());
  ASSERT_TRUE(Train(config, "b", 2).ok());
  std::filesystem::remove_all(Checkpoint("b", 4));
  config.training.steps = 6;
  for (const auto& [outcome, status] : {std::pair("stale", "b"), std::pair("local", "none")}) {
    std::filesystem::remove_all(Checkpoint("a", 6));
    const auto outcomes = TrainFaulty(config, {"a", status}, {});
    for (const Outcome& rank : outcomes) EXPECT_TRUE(rank.status.ok()) << outcome << rank.status;
    ASSERT_TRUE(Train(config, "straight", 2).ok());
    EXPECT_EQ(IdentifyCheckpoint(Checkpoint("a", 6)).value(),
              IdentifyCheckpoint(Checkpoint("straight", 6)).value());
  }
}

TEST_F(TrainerRanksTest, RanksThatSeeOtherCheckpointsEndTogether) {
  RunConfig config = Config(4);
  ASSERT_TRUE(Train(config, "a", 2).ok());
  const auto expect = [&](const std::string& reason) {
    for (const int64_t steps : {4, 6}) {
      RunConfig longer = config;
      longer.training.steps = steps;
      for (const Outcome& outcome : TrainFaulty(longer, {"a", "a"}, SeesAnotherDisk())) {
        EXPECT_EQ(ExitCodeOf(outcome.status), ExitCode::kCheckpoint);
        EXPECT_THAT(std::string(outcome.status.message()),
                    HasSubstr("rank 1: this rank does not see what rank 0 begins from"));
        EXPECT_THAT(std::string(outcome.status.message()), HasSubstr(reason));
        EXPECT_FALSE(outcome.failed_alone);
      }
    }
  };
  expect("it is not there");
  // Whole, of the same step and settings, and yet another: one rank adds in another order.
  ASSERT_TRUE(Train(config, "b", 1).ok());
  expect("step 4, next sample 48, manifest with xxh3 ");
  std::filesystem::resize_file(Checkpoint("b", 4) + "/model.h5", 100);
  expect("size of file differs");
}

TEST_F(TrainerRanksTest, RanksThatSeeOtherWeightsEndTogether) {
  RunConfig config = Config(2);
  ASSERT_TRUE(Train(config, "a", 2).ok());
  config.training.initial_weights = Run("a");
  const auto expect = [&](const std::string& reason) {
    for (const Outcome& outcome : TrainFaulty(config, {"new", "new"}, SeesAnotherDisk())) {
      EXPECT_EQ(ExitCodeOf(outcome.status), ExitCode::kCheckpoint);
      EXPECT_THAT(std::string(outcome.status.message()),
                  HasSubstr("rank 1: this rank does not see what rank 0 begins from"));
      EXPECT_THAT(std::string(outcome.status.message()), HasSubstr(reason));
    }
  };
  expect("it is not there");
  RunConfig other = Config(2);
  other.training.seed = 4;
  ASSERT_TRUE(Train(other, "b", 2).ok());
  expect("weights with xxh3 ");
}

}  // namespace
}  // namespace sluice
