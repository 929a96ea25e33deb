// Training with runtime.attention_kernel cudnn against the same run on the CPU; on the emulator by
// cuDNN's stand-in.
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "gmock/gmock.h"
#include "kernels/api/cudnn_attention.h"
#include "loss_curves.h"
#include "training_run.h"

namespace sluice {
namespace {

using testing::TrainingRun;

class CudnnTrainingTest : public TrainingRun {
 protected:
  CudnnTrainingTest() { setenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY", "90", 1); }
  ~CudnnTrainingTest() override { unsetenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY"); }
  // Where a real GPU is, it may be too old.
  void SetUp() override {
    const cuda::CudnnFacts facts = cuda::ReadCudnnFacts();
    const int major = facts.compute_capability / 10;
    if (facts.version < 92800 || major < 9 || major > 10) {
      GTEST_SKIP() << "SKIPPED: cuDNN " << facts.version << " on sm_" << facts.compute_capability
                   << " does not run this";
    }
  }

  RunConfig SmallConfig() const {
    RunConfig config = Config(20, "bf16");
    config.training.global_batch_size = 4;
    config.data.validation = {};
    config.training.evaluation_batches = 0;
    config.model.attention_probs_dropout_prob = 0;
    return config;
  }

  std::vector<double> Losses(RunConfig config, const std::string& run) const {
    std::vector<double> losses;
    RunRanks(1, [&](Communicator& communicator) {
      auto trainer = Trainer::Create({.config = config, .run_folder = Run(run)}, communicator);
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      const bool cudnn = config.runtime.attention_kernel == "cudnn";
      EXPECT_EQ((*trainer)->Describe().find("attention: cuDNN") != std::string::npos, cudnn);
      ASSERT_TRUE((*trainer)->Prepare().ok());
      while ((*trainer)->step() < config.training.steps) {
        const absl::Status status = (*trainer)->Step();
        ASSERT_TRUE(status.ok()) << status;
        losses.push_back((*trainer)->last_report().loss);
      }
    });
    return losses;
  }

  void ExpectSameCourse(const std::string& name, RunConfig config) const {
    const std::vector<double> bf16_losses = Losses(config, name + "_cpu");
    RunConfig fp32 = config;
    fp32.training.precision = "fp32";
    const std::vector<double> fp32_losses = Losses(fp32, name + "_cpu_fp32");
    config.runtime.device = "cuda";
    config.runtime.attention_kernel = "cudnn";
    const std::vector<double> cudnn_losses = Losses(config, name + "_cudnn");
    ASSERT_EQ(cudnn_losses.size(), 20u);
    testing::ExpectAsFarAsTheCpu(name, cudnn_losses, bf16_losses, fp32_losses);
  }
};

TEST_F(CudnnTrainingTest, BertVanilla) {
  RunConfig config = SmallConfig();
  config.model.attention.variant = "vanilla";
  ExpectSameCourse("vanilla", config);
}

TEST_F(CudnnTrainingTest, BertGatedAtTheQuery) { ExpectSameCourse("query", SmallConfig()); }

TEST_F(CudnnTrainingTest, OptGatedAtTheKey) {
  RunConfig config = SmallConfig();
  config.model.architecture = "opt";
  config.model.hidden_act = "relu";
  config.model.layer_norm_eps = 1e-5;
  config.model.word_embed_proj_dim = 24;
  config.model.attention.gate.site = "key";
  ExpectSameCourse("key", config);
}

TEST_F(CudnnTrainingTest, WhatCannotBeIsRefusedWithTheReason) {
  RunConfig config = SmallConfig();
  config.runtime.device = "cuda";
  config.runtime.attention_kernel = "cudnn";
  config.model.attention_probs_dropout_prob = 0.1;
  const absl::Status dropout = Train(config, "dropout", 1);
  EXPECT_EQ(ExitCodeOf(dropout), ExitCode::kUsage) << dropout;
  EXPECT_THAT(std::string(dropout.message()), ::testing::HasSubstr("cuDNN draws its own"));
  config.model.attention_probs_dropout_prob = 0;
  setenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY", "80", 1);
  const absl::Status old_gpu = Train(config, "old_gpu", 1);
  EXPECT_EQ(ExitCodeOf(old_gpu), ExitCode::kUsage) << old_gpu;
}

}  // namespace
}  // namespace sluice
