// What is in a checkpoint, for people and for scripts.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/checkpoint.h"

namespace sluice {

struct TensorSummary {
  std::string name;
  std::vector<int64_t> dims;
  int64_t elements = 0;
  double l2_norm = 0;  // in double
  double mean = 0;
  double largest_absolute = 0;
};

struct CheckpointSummary {
  std::string folder;
  CheckpointState state;
  std::vector<std::pair<std::string, std::string>> config;  // "model.hidden_size" → "768"
  std::vector<TensorSummary> model;                         // in the order of the file
  int64_t parameter_count = 0;
  double parameter_norm = 0;  // L2 over all of them
  int64_t optimizer_tensors = 0;
  int64_t bytes_on_disk = 0;      // of the files that the manifest names
  GateStatistics gates;           // empty when the model has none
  AttentionStatistics attention;  // empty when no step was looked at
};

// Reads weights, so it takes as long as loading them. CheckpointError when anything of it cannot be
// read; checksums of whole files are VerifyCheckpoint's matter.
absl::StatusOr<CheckpointSummary> InspectCheckpoint(const std::string& folder);

std::string InspectText(const CheckpointSummary& summary);  // at most 100 columns wide
std::string InspectJson(const CheckpointSummary& summary);

}  // namespace sluice
