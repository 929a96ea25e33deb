// What users rely on: runs that repeat, resume bit for bit, and do not depend on how a batch is
// split.
#include "train/trainer.h"

#include "checkpoint/diff.h"
#include "checkpoint/reader.h"
#include "data/open_batch_source.h"
#include "train/load_model.h"
#include "training_run.h"

namespace sluice {
namespace {

using testing::TrainingRun;

class TrainerTest : public TrainingRun {
 protected:
  void ExpectEqualCheckpoints(const std::string& a, const std::string& b) {
    const auto diff = DiffCheckpoints(a, b);
    ASSERT_TRUE(diff.ok()) << diff.status();
    EXPECT_TRUE(diff->equal()) << DiffText(*diff);
  }

  std::vector<double> Weights(const std::string& checkpoint) {
    auto model = LoadModel(checkpoint, {});
    EXPECT_TRUE(model.ok()) << model.status();
    const TensorView flat = model->engine->parameters().flat_master();
    return {flat.as<float>(), flat.as<float>() + flat.elements()};
  }
};

TEST_F(TrainerTest, ResumedRunEqualsTheStraightOneBitForBit) {
  for (const char* precision : {"fp32", "bf16"}) {
    for (int ranks : {1, 2}) {
      SCOPED_TRACE(std::string(precision) + " " + std::to_string(ranks));
      const std::string name = std::string(precision) + std::to_string(ranks);
      RunConfig config = Config(8, precision);
      config.checkpoint.every = 4;
      ASSERT_TRUE(Train(config, "straight" + name, ranks).ok());
      RunConfig half = config;
      half.training.steps = 4;
      ASSERT_TRUE(Train(half, "resumed" + name, ranks).ok());
      ASSERT_TRUE(Train(config, "resumed" + name, ranks).ok());
      ExpectEqualCheckpoints(Checkpoint("straight" + name, 8), Checkpoint("resumed" + name, 8));
      // The same command once more has nothing left to do and changes nothing.
      ASSERT_TRUE(Train(config, "resumed" + name, ranks).ok());
      ExpectEqualCheckpoints(Checkpoint("straight" + name, 8), Checkpoint("resumed" + name, 8));
    }
  }
}

TEST_F(TrainerTest, TheSameRunAgainGivesTheSameBits) {
  for (const char* precision : {"fp32", "bf16"}) {
    ASSERT_TRUE(Train(Config(4, precision), std::string("a") + precision, 2).ok());
    ASSERT_TRUE(Train(Config(4, precision), std::string("b") + precision, 2).ok());
    ExpectEqualCheckpoints(Checkpoint(std::string("a") + precision, 4),
                           Checkpoint(std::string("b") + precision, 4));
  }
}

TEST_F(TrainerTest, RanksAndMicroBatchesDoNotMatter) {
  // Gradients are the same sums of 12 x 16 tokens' terms in another order: they differ by
  // gamma(192) of their size. AdamW divides by their own size, so after k updates weights differ by
  // at most about k · learning rate · that share of a gradient that is not tiny; where it is tiny
  // (|g| near its roundoff), by up to 2 k learning rates. Means over the model are bounded by the
  // first, single weights by the second.
  const int64_t steps = 3;
  const RunConfig config = Config(steps);
  ASSERT_TRUE(Train(config, "one", 1).ok());
  const std::vector<double> one = Weights(Checkpoint("one", steps));
  for (const auto& [ranks, parts] : {std::pair{1, 2}, {1, 4}, {2, 1}, {3, 1}, {3, 2}, {2, 3}}) {
    RunConfig split = config;
    split.training.gradient_accumulation_steps = parts;
    const std::string name = absl::StrCat("split", ranks, "x", parts);
    ASSERT_TRUE(Train(split, name, ranks).ok());
    const std::vector<double> weights = Weights(Checkpoint(name, steps));
    ASSERT_EQ(weights.size(), one.size());
    double mean = 0;
    for (size_t i = 0; i < one.size(); ++i)
      mean += std::abs(weights[i] - one[i]) / static_cast<double>(one.size());
    EXPECT_LE(mean,
              steps * config.optimizer.learning_rate * 192 * testing::UnitRoundoff<float>() * 10)
        << name;
    testing::ExpectClose(
        name, weights, one,
        {.absolute = 2 * steps * config.optimizer.learning_rate,
         .zeros_expected = true,
         .derivation = "2 · updates · learning rate, where a gradient is its own roundoff"});
  }
}

TEST_F(TrainerTest, AnotherNumberOfRanksGoesOnWithTheSameData) {
  RunConfig config = Config(4);
  config.checkpoint.every = 2;
  ASSERT_TRUE(Train(config, "two", 2).ok());
  RunConfig half = config;
  half.training.steps = 2;
  ASSERT_TRUE(Train(half, "three", 2).ok());
  ASSERT_TRUE(Train(config, "three", 3).ok());
  const auto two = ReadCheckpointState(Checkpoint("two", 4)),
             three = ReadCheckpointState(Checkpoint("three", 4));
  ASSERT_TRUE(two.ok() && three.ok());
  EXPECT_EQ(two->next_sample, 48);
  EXPECT_EQ(three->next_sample, 48);
  testing::ExpectClose(
      "weights", Weights(Checkpoint("three", 4)), Weights(Checkpoint("two", 4)),
      {.absolute = 2 * 2 * config.optimizer.learning_rate,
       .zeros_expected = true,
       .derivation = "2 · updates · learning rate, where a gradient is its own roundoff"});
}

TEST_F(TrainerTest, LearnsAndKeepsWhatItWasTold) {
  RunConfig config = Config(40);
  config.training.evaluate_every = 10;
  config.checkpoint.every = 10;
  config.checkpoint.keep_last = 1;
  double first = 0, last = 0;
  RunRanks(1, [&](Communicator& communicator) {
    auto trainer = Trainer::Create({.config = config, .run_folder = Run("learn")}, communicator);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    ASSERT_TRUE((*trainer)->Prepare().ok());
    ASSERT_TRUE((*trainer)->Step().ok());
    first = (*trainer)->last_report().loss;
    for (int i = 1; i < 40; ++i) ASSERT_TRUE((*trainer)->Step().ok());
    last = (*trainer)->last_report().loss;
  });
  EXPECT_GT(first, 4.0);         // ln 61 = 4.11
  EXPECT_LT(last, first - 0.1);  // random words: what is to be learnt is which ids are words
  ASSERT_TRUE(Train(config, "kept", 1).ok());
  EXPECT_TRUE(std::filesystem::exists(Checkpoint("kept", 40)));
  int kept = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Run("kept") + "/checkpoints"))
    kept += entry.is_directory();
  EXPECT_LE(kept, 2);  // the last one, and the best one if it is another
  for (const char* file : {"config.yaml", "log.txt", "metrics.jsonl"}) {
    EXPECT_GT(std::filesystem::file_size(Run("kept") + "/" + file), 0u) << file;
  }
}

// A small batch may have none. The update still counts, and what is recorded is the text "nan".
TEST_F(TrainerTest, AnUpdateWithoutTargetsSaysSo) {
  RunConfig config = Config(40);
  config.training.global_batch_size = 2;
  config.training.log_every = 1;
  config.data.mlm_probability = 0.02;
  RunRanks(2, [&](Communicator& communicator) {
    auto trainer = Trainer::Create({.config = config, .run_folder = Run("few")}, communicator);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    ASSERT_TRUE((*trainer)->Prepare().ok());
    int without = 0, with = 0;
    for (int i = 0; i < 40; ++i) {
      ASSERT_TRUE((*trainer)->Step().ok());
      const StepReport& report = (*trainer)->last_report();
      EXPECT_EQ(report.step, i + 1);
      EXPECT_EQ(std::isfinite(report.loss), report.targets > 0);
      EXPECT_EQ(StepLine(report).find("nan"), std::string::npos) << StepLine(report);
      ++(report.targets > 0 ? with : without);
    }
    EXPECT_GT(without, 0);
    EXPECT_GT(with, 0);
  });
}

TEST_F(TrainerTest, ADryRunLeavesNothingBehind) {
  RunRanks(2, [&](Communicator& communicator) {
    auto trainer = Trainer::Create({.config = Config(4), .run_folder = Run("dry")}, communicator);
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    const std::string text = (*trainer)->Describe();
    for (const char* part : {"bert.embeddings.word_embeddings.weight", "memory a rank",
                             "optimizer state", "all-reduce of", "operations a token", "epochs"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part;
    }
  });
  EXPECT_FALSE(std::filesystem::exists(Run("dry")));
}

TEST_F(TrainerTest, EvaluationDoesNotDependOnRanks) {
  RunConfig config = Config(2);
  ASSERT_TRUE(Train(config, "evaluated", 1).ok());
  EvaluationResult one;
  for (int ranks : {1, 2, 3}) {
    RunRanks(ranks, [&](Communicator& communicator) {
      auto model = LoadModel(Run("evaluated"), {.max_batch = 3});
      ASSERT_TRUE(model.ok()) << model.status();
      auto source = OpenEvaluationSource(config, folder() + "/valid");
      ASSERT_TRUE(source.ok()) << source.status();
      auto result = Evaluate(*model->engine, **source, communicator, 3, 0);
      ASSERT_TRUE(result.ok()) << result.status();
      if (communicator.rank() != 0) return;
      if (ranks == 1) one = *result;
      EXPECT_EQ(result->targets, one.targets);
      EXPECT_EQ(result->sequences, one.sequences);
      EXPECT_NEAR(result->loss, one.loss, 1e-12 * one.loss);  // doubles in another order
      EXPECT_NEAR(result->perplexity, one.perplexity, 1e-12 * one.perplexity * 10);
    });
  }
  EXPECT_GT(one.sequences, 3);
}

}  // namespace
}  // namespace sluice
