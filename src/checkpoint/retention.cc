#include "checkpoint/retention.h"

#include <stdio.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/durable_file.h"
#include "checkpoint/manifest.h"
#include "checkpoint/temporary_name.h"
#include "checkpoint/verify.h"
#include "checkpoint/yaml_fields.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

using checkpoint_internal::RemoveTree;
using checkpoint_internal::WriteError;
using checkpoint_internal::YamlFields;
using checkpoint_internal::YamlQuoted;
using checkpoint_internal::YamlReal;

// Takes the name away first, so that a half-deleted folder is never seen as a checkpoint.
absl::Status Delete(const std::string& checkpoints_folder, int64_t step) {
  const std::string folder = absl::StrCat(checkpoints_folder, "/", CheckpointFolderName(step));
  const std::string doomed =
      absl::StrCat(checkpoints_folder, "/", checkpoint_internal::TemporaryFolderName(step));
  RemoveTree(doomed);
  if (rename(folder.c_str(), doomed.c_str()) != 0)
    return WriteError("cannot rename folder", folder);
  RemoveTree(doomed);
  return absl::OkStatus();
}

// checkpoints_folder/replaced_N, N from 1, the first that is not there yet.
absl::StatusOr<std::string> NewReplacedFolder(const std::string& checkpoints_folder) {
  for (int64_t number = 1;; ++number) {
    const std::string folder = absl::StrCat(checkpoints_folder, "/replaced_", number);
    if (mkdir(folder.c_str(), 0777) == 0) return folder;
    if (errno != EEXIST) return WriteError("cannot create folder", folder);
  }
}

}  // namespace

absl::Status MarkBestCheckpoint(const std::string& checkpoints_folder, const BestCheckpoint& best) {
  const std::string path = absl::StrCat(checkpoints_folder, "/", kBestFile);
  const std::string partial = absl::StrCat(path, ".partial");
  const std::string text = absl::StrCat("step: ", best.step, "\nmetric: ", YamlQuoted(best.metric),
                                        "\nvalue: ", YamlReal(best.value), "\n");
  absl::Status status = checkpoint_internal::WriteDurably(partial, text);
  if (status.ok() && rename(partial.c_str(), path.c_str()) != 0) {
    status = WriteError("cannot rename file", partial);
  }
  if (!status.ok()) {
    RemoveTree(partial);
    return status;
  }
  return checkpoint_internal::SyncFolder(checkpoints_folder);
}

absl::StatusOr<std::optional<BestCheckpoint>> ReadBestCheckpoint(
    const std::string& checkpoints_folder) {
  const std::string path = absl::StrCat(checkpoints_folder, "/", kBestFile);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::optional<BestCheckpoint>();
  ASSIGN_OR_RETURN(const std::string text, checkpoint_internal::ReadSmallFile(path));
  ASSIGN_OR_RETURN(YamlFields fields, YamlFields::Parse(text, path));
  BestCheckpoint best;
  RETURN_IF_ERROR(fields.Read("step", best.step));
  RETURN_IF_ERROR(fields.Read("metric", best.metric));
  RETURN_IF_ERROR(fields.Read("value", best.value));
  RETURN_IF_ERROR(fields.ExpectNoOthers());
  return std::optional<BestCheckpoint>(best);
}

absl::StatusOr<std::vector<int64_t>> ApplyRetention(const std::string& checkpoints_folder,
                                                    const RetentionPolicy& policy) {
  CHECK_GE(policy.keep_last, 1);
  ASSIGN_OR_RETURN(std::vector<int64_t> steps, ListCheckpointSteps(checkpoints_folder));
  std::erase_if(steps, [&](int64_t step) {
    return !checkpoint_internal::ReadManifest(
                absl::StrCat(checkpoints_folder, "/", CheckpointFolderName(step)))
                .ok();
  });
  std::set<int64_t> kept;
  for (size_t i = 0; i < steps.size() && static_cast<int64_t>(i) < policy.keep_last; ++i) {
    kept.insert(steps[steps.size() - 1 - i]);
  }
  if (policy.keep_best) {
    ASSIGN_OR_RETURN(const std::optional<BestCheckpoint> best,
                     ReadBestCheckpoint(checkpoints_folder));
    if (best) kept.insert(best->step);
  }
  if (policy.written) kept.insert(*policy.written);
  std::vector<int64_t> deleted;
  for (const int64_t step : steps) {
    if (kept.contains(step)) continue;
    if (deleted.empty()) {
      RETURN_IF_ERROR(VerifyCheckpoint(absl::StrCat(
          checkpoints_folder, "/", CheckpointFolderName(policy.written.value_or(steps.back())))));
    }
    RETURN_IF_ERROR(Delete(checkpoints_folder, step));
    deleted.push_back(step);
  }
  return deleted;
}

absl::StatusOr<SetAside> SetAsideCheckpoints(const std::string& checkpoints_folder,
                                             int64_t first_step) {
  SetAside aside;
  ASSIGN_OR_RETURN(aside.steps, ListCheckpointSteps(checkpoints_folder));
  std::erase_if(aside.steps, [=](int64_t step) { return step < first_step; });
  if (aside.steps.empty()) return aside;
  std::ranges::reverse(aside.steps);
  ASSIGN_OR_RETURN(aside.folder, NewReplacedFolder(checkpoints_folder));
  const auto move = [&](const std::string& name) {
    const std::string from = absl::StrCat(checkpoints_folder, "/", name);
    return rename(from.c_str(), absl::StrCat(aside.folder, "/", name).c_str()) == 0
               ? absl::OkStatus()
               : WriteError("cannot move a later step's checkpoint", from);
  };
  for (const int64_t step : aside.steps) RETURN_IF_ERROR(move(CheckpointFolderName(step)));
  const auto best = ReadBestCheckpoint(checkpoints_folder);
  // One that cannot be read names none that is left.
  if (!best.ok() || (*best && (*best)->step >= first_step)) RETURN_IF_ERROR(move(kBestFile));
  RETURN_IF_ERROR(checkpoint_internal::SyncFolder(aside.folder));
  RETURN_IF_ERROR(checkpoint_internal::SyncFolder(checkpoints_folder));
  return aside;
}

absl::StatusOr<std::vector<std::string>> RemoveAbandonedFolders(
    const std::string& checkpoints_folder) {
  std::vector<std::string> removed;
  std::error_code error;
  if (!std::filesystem::exists(checkpoints_folder, error)) return removed;
  std::filesystem::directory_iterator entries(checkpoints_folder, error), end;
  for (; !error && entries != end; entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    std::error_code ignored;
    const auto idle = std::filesystem::file_time_type::clock::now() -
                      std::filesystem::last_write_time(entries->path(), ignored);
    if (checkpoint_internal::IsAbandoned(name, std::chrono::duration<double>(idle).count())) {
      removed.push_back(name);
    }
  }
  if (error) return CheckpointError("cannot list folder", checkpoints_folder, error.message());
  for (const std::string& name : removed) RemoveTree(absl::StrCat(checkpoints_folder, "/", name));
  std::ranges::sort(removed);
  return removed;
}

}  // namespace sluice
