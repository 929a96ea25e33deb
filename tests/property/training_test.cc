// Random runs: a stopped and resumed one is the straight one, and neither ranks nor micro-batches
// matter.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <vector>

#include "checkpoint/diff.h"
#include "config/validate.h"
#include "data/nvidia_bert_for_tests.h"
#include "random_model.h"
#include "train/training_run.h"

namespace sluice {
namespace {

using testing::Draw;
using testing::Kinks;
using testing::RandomNvidiaBert;
using testing::WriteNvidiaBert;

class TrainingPropertyTest : public testing::TrainingRun {
 protected:
  TrainingPropertyTest() {
    WriteNvidiaBert(Run("pairs.hdf5"), RandomNvidiaBert(71, 16, 4, 61, 1));
    WriteNvidiaBert(Run("held_out_pairs.hdf5"), RandomNvidiaBert(25, 16, 4, 61, 3));
  }

  RunConfig DrawRun(Draw& draw, Kinks kinks) const {
    RunConfig config = Config(/*steps=*/1, draw.OneOf({"fp32", "bf16"}));
    config.model = testing::DrawModel(draw, kinks);
    config.model.max_position_embeddings = draw.Integer(16, 20);
    config.training.seed = draw.Word();
    config.training.gradient_accumulation_steps = draw.OneOf({1, 2, 3});
    config.training.evaluation_batches = draw.Integer(0, 2);
    config.runtime.gradient_bucket_bytes = draw.OneOf({4, 1000, 4096, 1 << 20});
    config.data.prefetch_batches = draw.Integer(1, 4);
    config.telemetry.gate_statistics_every = draw.Integer(0, 2);
    config.schedule.warmup_steps = draw.Integer(0, 1);
    DrawData(draw, config);
    config.optimizer.weight_decay = draw.OneOf({0.0, 0.01});
    config.optimizer.max_grad_norm = draw.OneOf({0.0, 1.0});
    return config;
  }

  // The state of a run after its first update: its gradient is the first moment / (1 - beta1).
  struct FirstUpdate {
    std::vector<double> gradient;
    double loss = 0;
    std::vector<Parameter> parameters;
  };
  FirstUpdate UpdateOnce(RunConfig config, int ranks, int64_t parts) const {
    config.training.gradient_accumulation_steps = parts;
    FirstUpdate update;
    RunRanks(ranks, [&](Communicator& communicator) {
      auto trainer = Trainer::Create(
          {.config = config, .run_folder = Run("unwritten"), .resume = "none"}, communicator);
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      ASSERT_TRUE((*trainer)->Prepare().ok());
      ASSERT_TRUE((*trainer)->Step().ok());
      if (communicator.rank() != 0) return;
      const Engine& engine = (*trainer)->engine();
      const TensorView moment = *engine.optimizer().moments()[0].values;
      for (int64_t i = 0; i < moment.elements(); ++i)
        update.gradient.push_back(moment.as<float>()[i] / (1 - config.optimizer.beta1));
      update.loss = (*trainer)->last_report().loss;
      update.parameters = engine.parameters().parameters();
    });
    return update;
  }

 private:
  // What the architecture can be trained on here: shards, NVIDIA's files, the generated task.
  void DrawData(Draw& draw, RunConfig& config) const {
    DataConfig& data = config.data;
    const bool masked = ObjectiveOf(config.model) == Objective::kMasked;
    if (masked && draw.Coin()) {
      data.source = "nvidia_bert";
      data.train = Run("pairs.hdf5");
      data.validation = {Run("held_out_pairs.hdf5")};
      config.model.vocab_size = 61;
      config.model.next_sentence_head = draw.Coin();
    } else if (!masked && (config.model.architecture == "bigram_backcopy" || draw.Coin())) {
      data.source = "bigram_backcopy";
      data.train = "";
      data.validation.clear();
      data.validation_sequences = 20;
    } else {
      data.packing = draw.OneOf({"contiguous", "blocks_of_1000_rows"});
      data.row_start = draw.OneOf({"document", "every_row"});
      data.attention_across_documents = draw.Coin();
      if (masked) data.mlm_probability = draw.Real(0.1, 0.5);
    }
  }
};

TEST_F(TrainingPropertyTest, ResumedEqualsStraightBitForBit) {
  int64_t number = 0;
  testing::ForEachCase(6, [&](Draw& draw) {
    RunConfig config = DrawRun(draw, Kinks::kAllowed);
    const int ranks = static_cast<int>(draw.Integer(1, 2));
    const int64_t stop = draw.Integer(1, 3);
    config.training.steps = 4;
    config.training.evaluate_every = draw.Integer(0, 3);
    if (draw.Coin()) {
      config.optimizer.name = "sgd";
      config.optimizer.momentum = draw.OneOf({0.0, 0.9});
    }
    // A checkpoint ends the interval of the gates' statistics, so the straight run writes one too.
    config.checkpoint.every = stop;
    config.checkpoint.keep_last = 5;
    SCOPED_TRACE(absl::StrCat(ranks, " ranks, stopped after ", stop, "\n", DumpRunConfig(config)));
    testing::ExpectDumpLoads(config);
    ASSERT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
    const std::string straight = absl::StrCat("straight", number),
                      halted = absl::StrCat("halted", number);
    ++number;
    const absl::Status whole = Train(config, straight, ranks);
    ASSERT_TRUE(whole.ok()) << whole;
    RunConfig part = config;
    part.training.steps = stop;
    ASSERT_TRUE(Train(part, halted, ranks).ok());
    ASSERT_TRUE(Train(config, halted, ranks).ok());
    const auto diff = DiffCheckpoints(Checkpoint(straight, 4), Checkpoint(halted, 4));
    ASSERT_TRUE(diff.ok()) << diff.status();
    EXPECT_TRUE(diff->equal()) << DiffText(*diff);
    std::filesystem::remove_all(Run(straight));
    std::filesystem::remove_all(Run(halted));
  });
}

TEST_F(TrainingPropertyTest, RanksAndMicroBatchesDoNotMatter) {
  // Rows are independent of each other in either precision, and gradients are summed in fp32: they
  // differ by the order of two sums over the batch's n tokens. Each of the 2 n roundings moves a
  // sum by at most u of its size at the time, about its end's; independent ones add like sqrt(2 n),
  // and 6 of these standard deviations are never reached by luck. Where exact arithmetic gives 0
  // (key biases: softmax ignores them) the sums pass sizes as elsewhere: 2 % of the model's
  // largest.
  testing::ForEachCase(6, [&](Draw& draw) {
    RunConfig config = DrawRun(draw, Kinks::kAvoided);
    SCOPED_TRACE(DumpRunConfig(config));
    testing::ExpectDumpLoads(config);
    const FirstUpdate one = UpdateOnce(config, 1, 1);
    double largest_of_all = 0;
    for (double value : one.gradient) largest_of_all = std::max(largest_of_all, std::abs(value));
    ASSERT_GT(largest_of_all, 0);
    const int64_t tokens = config.training.global_batch_size *
                           (config.data.sequence_length + config.model.attention.register_tokens);
    const double share =
        6 * std::sqrt(2 * static_cast<double>(tokens)) * testing::UnitRoundoff<float>();
    for (const auto& [ranks, parts] : {std::pair<int, int64_t>{2, 1}, {1, 3}, {2, 3}}) {
      const FirstUpdate split = UpdateOnce(config, ranks, parts);
      ASSERT_EQ(split.gradient.size(), one.gradient.size());
      EXPECT_NEAR(split.loss, one.loss, share * one.loss);
      for (const Parameter& parameter : one.parameters) {
        const auto begin = parameter.offset, end = begin + parameter.elements();
        double largest = 0.02 * largest_of_all;
        for (int64_t i = begin; i < end; ++i)
          largest = std::max(largest, std::abs(one.gradient[i]));
        testing::ExpectClose(
            absl::StrCat(ranks, " x ", parts, " ", parameter.name),
            std::vector<double>(split.gradient.begin() + begin, split.gradient.begin() + end),
            std::vector<double>(one.gradient.begin() + begin, one.gradient.begin() + end),
            {.absolute = share * largest,
             .zeros_expected = true,
             .derivation = "6 · sqrt(2 · tokens) · u · the parameter's largest gradient"});
      }
    }
  });
}

}  // namespace
}  // namespace sluice
