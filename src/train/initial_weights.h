// A new run from the weights of a finished one: training.initial_weights. What the weights' file
// lacks and the model has of its own (gates, sinks, registers) stays as it was drawn; optimizer,
// schedule and data begin at step 0.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/shard_format.h"
#include "train/engine.h"

namespace sluice {

struct InitialWeights {
  std::string folder;              // the checkpoint's, or Hugging Face's
  int64_t tensors = 0;             // that were read
  std::vector<std::string> drawn;  // parameters that it lacks
  uint64_t xxh3 = 0;               // of the values that were read
};

// The folder that `path`, a value of training.initial_weights, stands for: a checkpoint, that of a
// run folder (its newest) or a folder that transformers saved. CheckpointError when there is none.
absl::StatusOr<std::string> FindInitialWeights(const std::string& path);

// CheckpointError when what FindInitialWeights has found is not whole, and for another vocabulary
// than `tokenizer`'s; UsageError, each key named, when it is of another model; of vanilla attention
// any other may be made.
absl::Status CheckInitialWeights(const std::string& folder, const RunConfig& config,
                                 const TokenizerIdentity& tokenizer);

// Checks and reads them. CheckpointError for tensors that are missing, too many or of another
// shape, each named.
absl::StatusOr<InitialWeights> ReadInitialWeights(const std::string& folder,
                                                  const RunConfig& config,
                                                  const TokenizerIdentity& tokenizer,
                                                  Engine& engine);

// "weights from FOLDER: 37 tensors; drawn anew: a, b and 3 more".
std::string DescribeInitialWeights(const InitialWeights& weights);

}  // namespace sluice
