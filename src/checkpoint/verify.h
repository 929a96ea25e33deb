// Whether a checkpoint is what was written, and which one to go on from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice {

// Reads every byte of every file that the manifest names. The error names the manifest or the file
// that is missing, has another size, or another checksum. Other files in the folder do not count.
absl::Status VerifyCheckpoint(const std::string& folder);

// XXH3-64 of its manifest, 16 hex digits: two that verify and have the same are the same.
absl::StatusOr<std::string> IdentifyCheckpoint(const std::string& folder);

struct SkippedCheckpoint {
  std::string folder;
  std::string reason;
};

struct NewestCheckpoint {
  std::string folder;  // "" when there is none
  int64_t step = -1;
  std::vector<SkippedCheckpoint> skipped;  // newer ones that do not verify
};

// The newest step_NNNNNNNN in `checkpoints_folder` that verifies; logs a warning for each one that
// it skips. A folder that does not exist holds none. CheckpointError when it cannot be listed.
absl::StatusOr<NewestCheckpoint> FindNewestCheckpoint(const std::string& checkpoints_folder);

// Steps of the checkpoints in `checkpoints_folder`, whole or not, rising.
absl::StatusOr<std::vector<int64_t>> ListCheckpointSteps(const std::string& checkpoints_folder);

}  // namespace sluice
