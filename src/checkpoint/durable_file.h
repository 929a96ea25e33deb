// Files and folders that are on disk when a call returns. What cannot be read is a CheckpointError,
// what cannot be written a DeviceError (a full disk is nobody's checkpoint); both name the path and
// the system's reason. Internal to checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::checkpoint_internal {

// errno's words for `path`.
absl::Status ReadError(absl::string_view what, const std::string& path);
absl::Status WriteError(absl::string_view what, const std::string& path);

absl::Status WriteDurably(const std::string& path, absl::string_view bytes);
// The pieces one after the other.
absl::Status WriteDurably(const std::string& path, const std::vector<absl::string_view>& pieces);
absl::Status CopyDurably(const std::string& from, const std::string& to);
absl::Status SyncFile(const std::string& path);
absl::Status SyncFolder(const std::string& path);

// The whole of a small file (at most 64 MiB).
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

struct FileIdentity {
  int64_t bytes = 0;
  std::string xxh3;  // XXH3-64 of the content, 16 hex digits
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};
absl::StatusOr<FileIdentity> IdentifyFile(const std::string& path);  // reads every byte
std::string Xxh3Of(absl::string_view bytes);

// Deletes `path` and what is in it, as far as possible.
void RemoveTree(const std::string& path);

}  // namespace sluice::checkpoint_internal
