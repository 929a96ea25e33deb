// fp16 and its loss scale in the whole trainer, on the CUDA backend: what a skipped update leaves
// alone and what it uses up, when a run ends, and what its checkpoints go on with.
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "checkpoint/diff.h"
#include "checkpoint/reader.h"
#include "comm/single_communicator.h"
#include "core/error.h"
#include "data/open_batch_source.h"
#include "nlohmann/json.hpp"
#include "optim/learning_rate.h"
#include "train/load_model.h"
#include "train/outlier_evaluation.h"
#include "training_run.h"

namespace sluice {
namespace {

using testing::TrainingRun;

std::vector<float> Values(Engine& engine, const TensorView& tensor) {
  auto host = HostTensor::Read(engine.device(), tensor);
  EXPECT_TRUE(host.ok()) << host.status();
  const float* values = host->view().as<float>();
  return {values, values + tensor.elements()};
}

// Everything that an update changes.
struct Snapshot {
  explicit Snapshot(Engine& engine)
      : master(Values(engine, engine.parameters().flat_master())),
        m(Values(engine, *engine.optimizer().moments()[0].values)),
        v(Values(engine, *engine.optimizer().moments()[1].values)) {}
  std::vector<float> master, m, v;
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

class CudaFp16Test : public TrainingRun {
 protected:
  // Small enough for the emulator.
  RunConfig SmallConfig(int64_t steps, double initial_scale) const {
    RunConfig config = Config(steps, "fp16");
    config.runtime.device = "cuda";
    config.training.global_batch_size = 4;
    config.training.loss_scale.initial = initial_scale;
    config.data.validation = {};
    config.training.evaluation_batches = 0;
    config.schedule.shape = "linear";
    return config;
  }

  std::vector<nlohmann::json> TrainRecords(const std::string& run) const {
    std::ifstream file(Run(run) + "/metrics.jsonl");
    std::vector<nlohmann::json> records;
    for (std::string line; std::getline(file, line);) {
      records.push_back(nlohmann::json::parse(line));
    }
    return records;
  }

  std::string LogOf(const std::string& run) const {
    std::ifstream file(Run(run) + "/log.txt");
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

// At 2^24 logits' gradients are infinite in fp16. Updates are skipped until the scale fits, then
// the model learns, and every third clean update the scale is tried one higher.
TEST_F(CudaFp16Test, OverflowsAreSkippedUntilTheScaleFits) {
  RunConfig config = SmallConfig(20, 0x1p24);
  config.model.architecture = "bigram_backcopy";  // can be learnt in few updates
  config.model.hidden_act = "relu";
  config.model.layer_norm_eps = 1e-5;
  config.data.source = "bigram_backcopy";
  config.data.train = "";
  config.data.validation_sequences = 0;
  config.optimizer.learning_rate = 1e-2;
  config.training.loss_scale.growth_interval = 3;
  std::vector<double> losses;
  int64_t skipped = 0;
  RunRanks(1, [&](Communicator& communicator) {
    auto trainer = Trainer::Create({.config = config, .run_folder = Run("overflow")}, communicator);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    ASSERT_TRUE((*trainer)->Prepare().ok());
    Engine& engine = (*trainer)->engine();
    for (int64_t step = 0; step < config.training.steps; ++step) {
      const Snapshot before(engine);
      const LossScale::State scale = engine.loss_scale().state();
      const int64_t updates = engine.optimizer().updates();
      const absl::Status status = (*trainer)->Step();
      ASSERT_TRUE(status.ok()) << status;
      const StepReport& report = (*trainer)->last_report();
      const LossScale::State after = engine.loss_scale().state();
      losses.push_back(report.loss);
      // Skipped or not, a step uses its data and its place in the schedule.
      EXPECT_EQ((*trainer)->step(), step + 1);
      EXPECT_EQ(report.learning_rate,
                LearningRateAt(config.schedule, config.optimizer.learning_rate,
                               config.training.steps, step));
      EXPECT_EQ(report.loss_scale, scale.scale);
      EXPECT_TRUE(std::isfinite(report.loss)) << step;
      const bool was_skipped = after.skipped_updates > scale.skipped_updates;
      EXPECT_EQ(std::isfinite(report.gradient_norm), !was_skipped) << step;
      EXPECT_EQ(Snapshot(engine) == before, was_skipped) << step;
      EXPECT_EQ(engine.optimizer().updates(), updates + (was_skipped ? 0 : 1));
      if (was_skipped) {
        EXPECT_EQ(after, (LossScale::State{scale.scale / 2, 0, scale.skipped_updates + 1}));
      }
      skipped += was_skipped ? 1 : 0;
    }
  });
  EXPECT_GE(skipped, 8);   // from 2^24 down to 2^16 or less
  EXPECT_LE(skipped, 16);  // then it trains
  EXPECT_LT(losses.back(), losses.front());
  const auto records = TrainRecords("overflow");
  ASSERT_EQ(std::ssize(records), config.training.steps);
  EXPECT_EQ(records[0]["loss_scale"], 0x1p24);
  EXPECT_EQ(records[0]["skipped_updates"], 1);
  EXPECT_EQ(records[0]["gradient_norm"].is_string(), true);  // inf or nan
  EXPECT_EQ(records.back()["skipped_updates"], skipped);
  EXPECT_NE(LogOf("overflow")
                .find("step 1: update skipped, its gradients overflow in fp16; loss "
                      "scale 16777216, now 8388608"),
            std::string::npos);
}

TEST_F(CudaFp16Test, ResumedAcrossOverflowsEqualsTheStraightRunBitForBit) {
  RunConfig config = SmallConfig(14, 0x1p24);
  config.schedule.shape = "constant";
  config.training.loss_scale.growth_interval = 2;
  for (const int64_t stop : {4, 11}) {  // while every update overflows; later
    const std::string straight = absl::StrCat("straight", stop), run = absl::StrCat("part", stop);
    config.checkpoint.every = stop;
    ASSERT_EQ(Train(config, straight, 1), absl::OkStatus());
    const auto state = ReadCheckpointState(Checkpoint(straight, 14));
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_GE(state->counters.at("skipped_updates"), 8);
    EXPECT_EQ(state->next_sample, 14 * 4);
    RunConfig part = config;
    part.training.steps = stop;
    ASSERT_TRUE(Train(part, run, 1).ok());
    ASSERT_TRUE(Train(config, run, 1).ok());
    const auto diff = DiffCheckpoints(Checkpoint(straight, 14), Checkpoint(run, 14));
    ASSERT_TRUE(diff.ok()) << diff.status();
    EXPECT_TRUE(diff->equal()) << DiffText(*diff);
  }
}

TEST_F(CudaFp16Test, AnOverflowAtTheMinimumEndsTheRunAndNamesTheTensors) {
  RunConfig config = SmallConfig(20, 0x1p24);
  config.training.loss_scale.minimum = 0x1p23;
  const absl::Status status = Train(config, "minimum", 1);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kDiverged) << status;
  const std::string message(status.message());
  // The first update halves the scale to its minimum, the second one ends.
  for (const char* part :
       {"training diverged at step 2", "loss scale 8388608, its minimum",
        "gradients that are not finite, in the order of backward: cls.predictions.bias",
        " more; the weights of step 1 are untouched"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
  }
}

// Weights beyond fp16 make the loss itself infinite: no scale helps, and the run ends.
TEST_F(CudaFp16Test, ALossThatIsNotFiniteEndsTheRunAtTheMinimum) {
  RunConfig config = SmallConfig(20, 4);
  config.optimizer.learning_rate = 1e9;
  config.optimizer.max_grad_norm = 0;
  config.schedule.warmup_steps = 0;
  const absl::Status status = Train(config, "diverging", 1);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kDiverged) << status;
  EXPECT_NE(std::string(status.message()).find("loss scale 1, its minimum"), std::string::npos)
      << status;
  EXPECT_NE(LogOf("diverging").find("its loss is not finite in fp16; loss scale 4, now 2"),
            std::string::npos);
}

// Checkpoints carry fp32 masters, so each precision goes on from another's. fp16 starts at the
// initial scale then, and what it skipped does not count as an update of AdamW anywhere.
TEST_F(CudaFp16Test, CheckpointsCrossPrecisions) {
  RunConfig half = SmallConfig(12, 0x1p24);
  half.schedule.shape = "constant";
  ASSERT_TRUE(Train(half, "run", 1).ok());
  const auto written = ReadCheckpointState(Checkpoint("run", 12));
  ASSERT_TRUE(written.ok()) << written.status();
  const int64_t skipped = written->counters.at("skipped_updates");
  EXPECT_GE(skipped, 8);
  EXPECT_EQ(written->loss_scale, std::ldexp(1.0, 24 - static_cast<int>(skipped)));

  // A CPU computes in fp32, from the same masters.
  auto loaded = LoadModel(Run("run"), {.max_batch = 2});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->engine->options().dtype, DType::kFloat32);
  auto on_gpu = LoadModel(Run("run"), {.max_batch = 2, .device = "cuda"});
  ASSERT_TRUE(on_gpu.ok()) << on_gpu.status();
  EXPECT_EQ(on_gpu->engine->options().dtype, DType::kFloat16);
  EXPECT_EQ(Values(*loaded->engine, loaded->engine->parameters().flat_master()),
            Values(*on_gpu->engine, on_gpu->engine->parameters().flat_master()));

  // What `sluice evaluate --device cuda` says of it, beside the CPU's fp32: some ten roundings of
  // 2^-11 in a row.
  const auto measure = [&](Engine& engine) {
    const auto data = OpenTrainingSource(half).value();
    SingleCommunicator alone;
    auto all = EvaluateWithOutliers(engine, *data, alone, {.batch_size = 2, .batches = 2});
    EXPECT_TRUE(all.ok()) << all.status();
    return *std::move(all);
  };
  const OutlierEvaluation on_host = measure(*loaded->engine), in_half = measure(*on_gpu->engine);
  EXPECT_NEAR(in_half.result.loss, on_host.result.loss, .01 * on_host.result.loss);
  ASSERT_EQ(in_half.outliers.size(), on_host.outliers.size());
  for (size_t i = 0; i < in_half.outliers.size(); ++i) {
    const RowOutliers &got = in_half.outliers[i].sequence, &want = on_host.outliers[i].sequence;
    EXPECT_NEAR(got.inf_norm, want.inf_norm, .01 * want.inf_norm) << in_half.outliers[i].tensor;
    EXPECT_NEAR(got.kurtosis, want.kurtosis, .02 * want.kurtosis) << in_half.outliers[i].tensor;
  }

  RunConfig brain = half;
  brain.training.steps = 14;
  brain.training.precision = "bf16";
  brain.runtime.device = "cpu";
  ASSERT_TRUE(Train(brain, "run", 1).ok());
  const auto between = ReadCheckpointState(Checkpoint("run", 14));
  ASSERT_TRUE(between.ok()) << between.status();
  EXPECT_EQ(between->loss_scale, 1);
  EXPECT_EQ(between->counters.at("skipped_updates"), skipped);
  EXPECT_EQ(between->counters.count("clean_updates"), 0);

  half.training.steps = 15;
  half.training.loss_scale.initial = 512;
  RunRanks(1, [&](Communicator& communicator) {
    auto trainer = Trainer::Create({.config = half, .run_folder = Run("run")}, communicator);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    const absl::Status status = (*trainer)->Prepare();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ((*trainer)->engine().loss_scale().state(), (LossScale::State{512, 0, skipped}));
    EXPECT_EQ((*trainer)->engine().optimizer().updates(), 14 - skipped);
    ASSERT_TRUE((*trainer)->Step().ok());
    EXPECT_EQ((*trainer)->engine().loss_scale().state(), (LossScale::State{512, 1, skipped}));
  });
}

}  // namespace
}  // namespace sluice
