// The whole trainer with runtime.device cuda against the same run on the CPU: losses step by step,
// and checkpoints that one writes and the other goes on from.
#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "loss_curves.h"
#include "training_run.h"

namespace sluice {
namespace {

using testing::TrainingRun;

// What a run reported, step by step.
struct Course {
  std::vector<double> losses, gate_means;
  double largest_norm = 0;  // of the gradient, L2
  int64_t skipped = 0;      // updates
};

class CudaTrainingTest : public TrainingRun {
 protected:
  // Small enough for the emulator.
  RunConfig SmallConfig(const std::string& precision) const {
    RunConfig config = Config(20, precision);
    config.training.global_batch_size = 4;
    config.data.validation = {};
    config.training.evaluation_batches = 0;
    return config;
  }

  // Trains from where `run` stands to config.training.steps.
  Course TrainOn(const std::string& device, RunConfig config, const std::string& run) const {
    config.runtime.device = device;
    Course course;
    RunRanks(1, [&](Communicator& communicator) {
      auto trainer = Trainer::Create({.config = config, .run_folder = Run(run)}, communicator);
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      ASSERT_TRUE((*trainer)->Prepare().ok());
      while ((*trainer)->step() < config.training.steps) {
        const absl::Status status = (*trainer)->Step();
        ASSERT_TRUE(status.ok()) << status;
        course.losses.push_back((*trainer)->last_report().loss);
        course.gate_means.push_back((*trainer)->last_report().gate_mean);
        course.largest_norm =
            std::max(course.largest_norm, (*trainer)->last_report().gradient_norm);
        course.skipped = (*trainer)->last_report().skipped_updates;
      }
    });
    return course;
  }

  absl::Status TrainToTheEnd(const std::string& device, RunConfig config,
                             const std::string& run) const {
    config.runtime.device = device;
    return Train(config, run, 1);
  }

  // fp32: a pass differs by some 76 u (tests/model/golden_model.h), in the loss and in the
  // gradients. An update divides a gradient g by its own size, so a weight comes to differ by
  // learning rate · 76 u · r / |g|, with r the gradients' root mean square, and the loss by |g|
  // times that. Over n weights of random signs these are sqrt(n) · r = the gradient's norm, once
  // for each step done.
  static void ExpectSameCourse(const std::string& name, const Course& cuda, const Course& cpu,
                               const RunConfig& config) {
    const double share = 76 * testing::UnitRoundoff<float>();
    const double update = share * cpu.largest_norm * config.optimizer.learning_rate;
    testing::ExpectClose(name, cuda.losses, cpu.losses,
                         {.absolute = static_cast<double>(cpu.losses.size()) * update,
                          .relative = share,
                          .derivation = "76 u of the loss + what the updates add"});
  }

  // As above, of a gate's logit; the slope of a sigmoid is at most ¼.
  static void ExpectSameGates(const std::string& name, const Course& cuda, const Course& cpu,
                              const RunConfig& config) {
    const double share = 76 * testing::UnitRoundoff<float>();
    const double update = share * cpu.largest_norm * config.optimizer.learning_rate;
    testing::ExpectClose(name, cuda.gate_means, cpu.gate_means,
                         {.absolute = (share + static_cast<double>(cpu.losses.size()) * update) / 4,
                          .derivation = "¼ · (76 u of a logit + what the updates add)"});
  }

  // fp16, for which there is no CPU: roundings are an eighth of bf16's, so distances from fp32 are
  // draws from an eighth of the spread that bf16 shows on both devices. A third draw beyond four
  // times the larger of two is rare (3 % where they are normal), but there are many: one rounding's
  // effect comes on top.
  static void ExpectAnEighth(const std::string& name, const Course& fp16,
                             const std::vector<Course>& bf16, const Course& fp32) {
    const double farthest = std::max(testing::LargestDistance(bf16[0].losses, fp32.losses),
                                     testing::LargestDistance(bf16[1].losses, fp32.losses));
    testing::ExpectClose(
        name, fp16.losses, fp32.losses,
        {.absolute = 4 * 0x1p-11 / 0x1p-8 * farthest +
                     testing::EffectOfOneRounding<sluice::fp16>(fp32.losses),
         .derivation =
             "4 · 2⁻¹¹/2⁻⁸ · bf16's largest distance from fp32 + 2⁻¹¹ · range of losses"});
  }

  void ExpectCourses(const std::string& name, RunConfig config) const {
    config.training.precision = "fp32";
    const Course fp32 = TrainOn("cpu", config, name + "_cpu_fp32");
    ASSERT_EQ(fp32.losses.size(), 20u);
    EXPECT_NE(fp32.losses.front(), fp32.losses.back());
    const Course cuda = TrainOn("cuda", config, name + "_cuda_fp32");
    ExpectSameCourse(name + " fp32", cuda, fp32, config);
    if (config.model.attention.variant == "gated") {
      ExpectSameGates(name + " fp32 gates", cuda, fp32, config);
    }
    config.training.precision = "bf16";
    const std::vector<Course> bf16 = {TrainOn("cuda", config, name + "_cuda_bf16"),
                                      TrainOn("cpu", config, name + "_cpu_bf16")};
    testing::ExpectAsFarAsTheCpu(name + " bf16", bf16[0].losses, bf16[1].losses, fp32.losses);
    config.training.precision = "fp16";
    const Course fp16 = TrainOn("cuda", config, name + "_cuda_fp16");
    EXPECT_EQ(fp16.skipped, 0);
    ExpectAnEighth(name + " fp16", fp16, bf16, fp32);
  }
};

TEST_F(CudaTrainingTest, BertVanilla) {
  RunConfig config = SmallConfig("fp32");
  config.model.attention.variant = "vanilla";
  ExpectCourses("vanilla", config);
}

TEST_F(CudaTrainingTest, BertWithValueStateGates) { ExpectCourses("gated", SmallConfig("fp32")); }

// Relu and the tanh form of GELU, which are epilogues of the library's products.
TEST_F(CudaTrainingTest, EveryActivation) {
  for (const char* activation : {"relu", "gelu_tanh"}) {
    RunConfig config = SmallConfig("fp32");
    config.model.hidden_act = activation;
    config.model.attention.variant = "vanilla";
    if (activation == std::string("relu")) {
      config.model.architecture = "opt";
      config.model.layer_norm_eps = 1e-5;
    }
    ExpectCourses(activation, config);
  }
}

// Every attention variant, on the model that it is for.
struct Variant {
  const char* name;
  const char* architecture;
  std::function<void(AttentionConfig&)> set;
};

// One layer that trains for a while, changed to be of `variant`.
RunConfig ConfigOf(const Variant& variant, RunConfig config) {
  config.training.steps = 20;
  config.model.num_hidden_layers = 1;
  config.model.architecture = variant.architecture;
  config.data.attention_across_documents = false;
  if (config.model.architecture == "opt") {
    config.model.hidden_act = "relu";
    config.model.layer_norm_eps = 1e-5;
    config.model.word_embed_proj_dim = 24;
  }
  variant.set(config.model.attention);
  return config;
}

TEST_F(CudaTrainingTest, EveryVariant) {
  const Variant variants[] = {
      {"gate_key_input", "bert",
       [](AttentionConfig& a) { a.gate = {.source = "input", .site = "key", .bias = true}; }},
      {"gate_channel", "opt", [](AttentionConfig& a) { a.gate.granularity = "channel"; }},
      {"gate_slice", "opt", [](AttentionConfig& a) { a.gate.per_head_slice = true; }},
      {"gate_channel_slice", "bert",
       [](AttentionConfig& a) {
         a.gate = {.site = "key", .granularity = "channel", .per_head_slice = true};
       }},
      {"clipped_softmax", "bert", [](AttentionConfig& a) { a.variant = "clipped_softmax"; }},
      {"sink_logit", "opt", [](AttentionConfig& a) { a.variant = "learnable_sink"; }},
      {"sink_token", "opt",
       [](AttentionConfig& a) {
         a.variant = "learnable_sink";
         a.learnable_sink = "token";
       }},
      {"softmax_plus_one", "bert", [](AttentionConfig& a) { a.variant = "softmax_plus_one"; }},
      {"relu", "opt", [](AttentionConfig& a) { a.variant = "relu"; }},
      {"registers", "opt", [](AttentionConfig& a) { a.register_tokens = 3; }},
  };
  for (const Variant& variant : variants) {
    ExpectCourses(variant.name, ConfigOf(variant, SmallConfig("fp32")));
  }
}

// Other predictors, temperature and scale, and a layer without gates below one that has them.
TEST_F(CudaTrainingTest, EveryGate) {
  const Variant variants[] = {
      {"gate_free_scalar", "bert",
       [](AttentionConfig& a) { a.gate = {.site = "key", .predictor = "free_scalar"}; }},
      {"gate_perceptron", "bert",
       [](AttentionConfig& a) {
         a.gate = {.source = "input", .predictor = "mlp", .predictor_hidden_size = 5};
       }},
      {"gate_curve", "bert",
       [](AttentionConfig& a) {
         a.gate = {.bias = true, .initial_probability = 0.25, .temperature = 2};
         a.gate.scale = "one_at_start";
       }},
      {"gate_one_layer", "opt",
       [](AttentionConfig& a) {
         a.gate = {.granularity = "channel", .temperature = 0.5, .layers = {1}};
       }},
  };
  for (const Variant& variant : variants) {
    RunConfig config = ConfigOf(variant, SmallConfig("fp32"));
    if (!config.model.attention.gate.layers.empty()) config.model.num_hidden_layers = 2;
    ExpectCourses(variant.name, config);
  }
}

TEST_F(CudaTrainingTest, BigramBackcopy) {
  RunConfig config = SmallConfig("fp32");
  config.model.architecture = "bigram_backcopy";
  config.model.hidden_act = "relu";
  config.model.layer_norm_eps = 1e-5;
  config.data.source = "bigram_backcopy";
  config.data.train = "";
  config.data.validation_sequences = 0;
  ExpectCourses("bigram_backcopy", config);
}

// A checkpoint is the device's no more than the ranks': each goes on from the other's, and arrives
// where the CPU alone does.
TEST_F(CudaTrainingTest, CheckpointsCrossDevices) {
  const auto second_half = [](const Course& course) {
    return Course{{course.losses.begin() + 3, course.losses.end()}, {}, course.largest_norm};
  };
  Course fp32;  // all of it
  for (const char* precision : {"fp32", "bf16"}) {
    RunConfig config = SmallConfig(precision);
    config.training.steps = 6;
    RunConfig half = config;
    half.training.steps = 3;
    const std::string name = std::string("crossing_") + precision;
    const Course straight = TrainOn("cpu", config, name + "_straight");
    if (fp32.losses.empty()) fp32 = straight;
    for (const auto& [first, second] : {std::pair{"cpu", "cuda"}, {"cuda", "cpu"}}) {
      const std::string run = name + "_" + first;
      ASSERT_TRUE(TrainToTheEnd(first, half, run).ok());
      const Course rest = TrainOn(second, config, run);
      if (std::string(precision) == "fp32") {
        ExpectSameCourse(run, rest, second_half(straight), config);
      } else {
        testing::ExpectClose(run, rest.losses, second_half(fp32).losses,
                             testing::AsFarAsTheCpu(straight.losses, fp32.losses));
      }
    }
  }
}

TEST_F(CudaTrainingTest, DivergenceLeavesTheWeightsAsTheyWere) {
  RunConfig config = SmallConfig("fp32");
  config.optimizer.learning_rate = 1e30;
  config.optimizer.max_grad_norm = 0;
  const absl::Status status = TrainToTheEnd("cuda", config, "diverging");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kDiverged) << status;
}

}  // namespace
}  // namespace sluice
