// A trained model from a checkpoint or a run folder, ready to evaluate or predict.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/checkpoint.h"
#include "train/engine.h"

namespace sluice {

struct LoadModelOptions {
  static constexpr int64_t kLongest = -1;
  int64_t max_batch = 1;
  int64_t length = 0;  // tokens; 0: the configuration's sequence_length; kLongest: as long as the
                       // model has positions
  std::string precision = "";  // fp32 or bf16; none: training.precision
  std::string device = "cpu";  // of EngineOptions
  int local_rank = 0;
  // data.key=value: how data become rows, instead of as in the run. The length of `length: 0`
  // is then theirs; clipped softmax stays what it was trained as.
  std::vector<std::string> data_overrides = {};
};

struct LoadedModel {
  std::string folder;  // the checkpoint's
  RunConfig config;    // with which it was trained, and data_overrides
  CheckpointState state;
  std::unique_ptr<Engine> engine;
};

// `path` is a checkpoint, or a run folder: then its newest whole checkpoint. CheckpointError
// otherwise; UsageError for an override of anything but data.
absl::StatusOr<LoadedModel> LoadModel(const std::string& path, const LoadModelOptions& options);

// The checkpoint that `path` stands for.
absl::StatusOr<std::string> ResolveCheckpoint(const std::string& path);

}  // namespace sluice
