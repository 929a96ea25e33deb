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

}  // namespace
}  // namespace sluice
