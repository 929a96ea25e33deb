// Whole training runs in a temporary folder, with ranks as threads.
#pragma once

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"
#include "comm/thread_communicator.h"
#include "core/parallel.h"
#include "data/dataset_for_tests.h"
#include "gtest/gtest.h"
#include "support/compare.h"
#include "train/trainer.h"

namespace sluice::testing {

class TrainingRun : public ::testing::Test {
 protected:
  TrainingRun() {
    WriteDataset(folder() + "/train", RandomDocuments(60, 61, 1), 61);
    WriteDataset(folder() + "/valid", RandomDocuments(12, 61, 2), 61);
  }
  const std::string& folder() const { return temporary_.path(); }

  RunConfig Config(int64_t steps, const std::string& precision = "fp32") const {
    RunConfig config;
    config.name = "test";
    config.model.hidden_size = 32;
    config.model.num_hidden_layers = 2;
    config.model.num_attention_heads = 2;
    config.model.intermediate_size = 48;
    config.model.max_position_embeddings = 16;
    config.model.attention.variant = "gated";
    config.data.train = folder() + "/train";
    config.data.validation = {folder() + "/valid"};
    config.data.sequence_length = 16;
    config.optimizer.learning_rate = 3e-3;
    config.schedule.shape = "constant";
    config.schedule.warmup_steps = 2;
    config.training.steps = steps;
    config.training.global_batch_size = 12;
    config.training.precision = precision;
    config.training.evaluation_batches = 2;
    config.telemetry.gate_statistics_every = 2;
    config.runtime.threads = 1;
    config.runtime.gradient_bucket_bytes = 4096;  // many buckets
    return config;
  }

  // Trains and returns the statuses' first error. Each rank runs as a thread.
  absl::Status Train(const RunConfig& config, const std::string& run, int ranks,
                     const std::string& resume = "auto") const {
    absl::Status first;
    RunRanks(ranks, [&](Communicator& communicator) {
      absl::Status status = TrainRank(config, run, resume, communicator);
      if (communicator.rank() == 0) first = status;
    });
    return first;
  }

  std::string Run(const std::string& name) const { return folder() + "/" + name; }
  std::string Checkpoint(const std::string& run, int64_t step) const {
    return absl::StrCat(folder(), "/", run, "/checkpoints/", CheckpointFolderName(step));
  }

 private:
  absl::Status TrainRank(const RunConfig& config, const std::string& run, const std::string& resume,
                         Communicator& communicator) const {
    auto trainer =
        Trainer::Create({.config = config, .run_folder = Run(run), .resume = resume}, communicator);
    if (!trainer.ok()) return trainer.status();
    return (*trainer)->Run();
  }

  TemporaryFolder temporary_;
};

}  // namespace sluice::testing
