// Which checkpoints stay on disk: the newest ones and the best one; and where those go that a run
// which begins before them will write anew.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice {

// best.yaml beside the checkpoints: which step is the best, by what.
struct BestCheckpoint {
  int64_t step = 0;
  std::string metric;  // e.g. "validation/perplexity"
  double value = 0;    // lower is better
  friend bool operator==(const BestCheckpoint&, const BestCheckpoint&) = default;
};

// Replaces best.yaml in one step. DeviceError as the file system has it.
absl::Status MarkBestCheckpoint(const std::string& checkpoints_folder, const BestCheckpoint& best);
// Empty when none is marked.
absl::StatusOr<std::optional<BestCheckpoint>> ReadBestCheckpoint(
    const std::string& checkpoints_folder);

struct RetentionPolicy {
  int64_t keep_last = 2;  // >= 1
  bool keep_best = true;  // what best.yaml names, too
  // The one just written is kept whatever its step, and is the one that is verified.
  std::optional<int64_t> written{};
};

// Deletes the checkpoints that the policy does not keep and returns their steps. Only checkpoints
// with a readable manifest count towards keep_last and are deleted; broken ones stay for whoever
// wants to look. Before the first deletion the one just written (else the newest) is verified byte
// by byte: if it is damaged, nothing is deleted and its error is returned.
absl::StatusOr<std::vector<int64_t>> ApplyRetention(const std::string& checkpoints_folder,
                                                    const RetentionPolicy& policy);

// What SetAsideCheckpoints has moved.
struct SetAside {
  std::string folder;          // checkpoints_folder/replaced_N, N from 1; "" when nothing was moved
  std::vector<int64_t> steps;  // falling
};

// Moves the checkpoints of `first_step` and later steps, whole or not, into a new folder beside the
// others, and best.yaml with them when it names one of them: newest first, so that one who is
// killed meanwhile leaves the oldest. A run that begins before them would else count its own
// checkpoints as older than these. DeviceError as the file system has it.
absl::StatusOr<SetAside> SetAsideCheckpoints(const std::string& checkpoints_folder,
                                             int64_t first_step);

// Deletes what killed processes left half written or half deleted; returns the names. To be called
// when a run starts, by the one process that writes.
absl::StatusOr<std::vector<std::string>> RemoveAbandonedFolders(
    const std::string& checkpoints_folder);

}  // namespace sluice
