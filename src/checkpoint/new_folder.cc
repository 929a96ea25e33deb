#include "checkpoint/new_folder.h"

#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "checkpoint/durable_file.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

absl::Status NotNew(const std::string& path) {
  return UsageError("exists already and is not an empty folder; nothing is overwritten", path);
}

// Without what would make the last part empty: "out/" → "out".
fs::path Normal(const std::string& path) {
  const fs::path normal = fs::path(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

// Gives `temporary` the name `target`, if that is still free.
absl::Status Publish(const std::string& temporary, const fs::path& target,
                     const std::string& parent) {
  RETURN_IF_ERROR(checkpoint_internal::SyncFolder(temporary));
  if (rename(temporary.c_str(), target.c_str()) != 0) {
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) return NotNew(target.string());
    return checkpoint_internal::WriteError("cannot rename folder", temporary);
  }
  return checkpoint_internal::SyncFolder(parent);
}

}  // namespace

absl::Status CheckFolderIsNew(const std::string& path) {
  std::error_code error;
  if (path.empty()) return UsageError("a folder's name is wanted");
  if (!fs::exists(fs::symlink_status(path, error))) return absl::OkStatus();
  const bool is_empty_folder = fs::is_directory(path, error) && fs::is_empty(path, error);
  return is_empty_folder ? absl::OkStatus() : NotNew(path);
}

absl::Status WriteNewFolder(const std::string& path,
                            const std::function<absl::Status(const std::string& temporary)>& fill) {
  RETURN_IF_ERROR(CheckFolderIsNew(path));
  const fs::path target = Normal(path);
  const std::string parent = target.has_parent_path() ? target.parent_path().string() : ".";
  const std::string temporary =
      absl::StrCat(parent, "/.", target.filename().string(), ".tmp-", getpid());
  checkpoint_internal::RemoveTree(temporary);
  std::error_code error;
  fs::create_directories(temporary, error);
  if (error) return DeviceError("cannot create folder", temporary, error.message());
  absl::Status status = fill(temporary);
  if (status.ok()) status = Publish(temporary, target, parent);
  if (!status.ok()) checkpoint_internal::RemoveTree(temporary);
  return status;
}

}  // namespace sluice
