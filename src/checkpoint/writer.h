// Writes a checkpoint so that it is whole or not there: into a temporary folder beside the final
// one, every file synced, the manifest last, then one rename. A process that is killed, or a disk
// that is full, leaves older checkpoints untouched.
//
//   CheckpointContents contents = …;  // views, nothing is copied
//   RETURN_IF_ERROR(WriteCheckpoint("runs/toy/checkpoints", contents));
//   → runs/toy/checkpoints/step_00001000/
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "checkpoint/checkpoint.h"

namespace sluice {

struct WriteCheckpointOptions {
  // Called after each step: "model.h5", …, "manifest.yaml", "synced", "renamed". Tests end the
  // process there.
  std::function<void(absl::string_view done)> on_progress;
};

// Writes `checkpoints_folder`/step_NNNNNNNN, creating parents; a checkpoint of the same step is
// replaced in one exchange. One process a run may call this.
//
// Errors: DeviceError for what the file system refuses, and the temporary folder is removed;
// DivergedError, before anything is written, when a tensor has a NaN or an infinity: such a
// checkpoint would push good ones out, and nothing can go on from it.
absl::Status WriteCheckpoint(const std::string& checkpoints_folder,
                             const CheckpointContents& contents,
                             const WriteCheckpointOptions& options = {});

// Writes the checkpoint as `folder` itself, which must not exist yet, or be an empty folder
// (new_folder.h): for checkpoints that belong to no run.
absl::Status WriteCheckpointAs(const std::string& folder, const CheckpointContents& contents);

}  // namespace sluice
