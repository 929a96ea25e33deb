#include "checkpoint/verify.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/durable_file.h"
#include "checkpoint/manifest.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"

namespace sluice {
namespace {

using checkpoint_internal::CheckpointManifest;
using checkpoint_internal::FileIdentity;
using checkpoint_internal::ManifestEntry;

absl::Status VerifyFile(const std::string& folder, const ManifestEntry& entry) {
  const std::string path = absl::StrCat(folder, "/", entry.name);
  std::error_code error;
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) return CheckpointError("file is missing", path, error.message());
  if (bytes != entry.identity.bytes) {
    return CheckpointError(
        "size of file differs", path,
        absl::StrCat("expected ", entry.identity.bytes, " bytes, found ", bytes));
  }
  ASSIGN_OR_RETURN(const FileIdentity found, checkpoint_internal::IdentifyFile(path));
  if (found.xxh3 != entry.identity.xxh3) {
    return CheckpointError(
        "checksum of file differs: it is damaged", path,
        absl::StrCat("expected xxh3 ", entry.identity.xxh3, ", found ", found.xxh3));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status VerifyCheckpoint(const std::string& folder) {
  ASSIGN_OR_RETURN(const CheckpointManifest manifest, checkpoint_internal::ReadManifest(folder));
  for (const char* required : {kModelFile, kOptimizerFile, kStateFile, kConfigFile}) {
    if (!manifest.Has(required)) {
      return CheckpointError("manifest does not name a file", folder, required);
    }
  }
  for (const ManifestEntry& entry : manifest.files) RETURN_IF_ERROR(VerifyFile(folder, entry));
  return absl::OkStatus();
}

absl::StatusOr<std::string> IdentifyCheckpoint(const std::string& folder) {
  ASSIGN_OR_RETURN(const FileIdentity identity,
                   checkpoint_internal::IdentifyFile(absl::StrCat(folder, "/", kManifestFile)));
  return identity.xxh3;
}

absl::StatusOr<std::vector<int64_t>> ListCheckpointSteps(const std::string& checkpoints_folder) {
  std::vector<int64_t> steps;
  std::error_code error;
  if (!std::filesystem::exists(checkpoints_folder, error)) return steps;
  std::filesystem::directory_iterator entries(checkpoints_folder, error), end;
  for (; !error && entries != end; entries.increment(error)) {
    const std::optional<int64_t> step = StepOfFolderName(entries->path().filename().string());
    if (step && entries->is_directory(error)) steps.push_back(*step);
  }
  if (error) return CheckpointError("cannot list folder", checkpoints_folder, error.message());
  std::ranges::sort(steps);
  return steps;
}

absl::StatusOr<NewestCheckpoint> FindNewestCheckpoint(const std::string& checkpoints_folder) {
  ASSIGN_OR_RETURN(std::vector<int64_t> steps, ListCheckpointSteps(checkpoints_folder));
  NewestCheckpoint newest;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const std::string folder = absl::StrCat(checkpoints_folder, "/", CheckpointFolderName(*step));
    const absl::Status status = VerifyCheckpoint(folder);
    if (status.ok()) {
      newest.folder = folder;
      newest.step = *step;
      break;
    }
    newest.skipped.push_back({folder, std::string(status.message())});
    LogWarning(absl::StrCat("skipping checkpoint: ", status.message()));
  }
  return newest;
}

}  // namespace sluice
