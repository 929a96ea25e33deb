// Whole files that appear under their name complete and on disk, or not at all.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

// Files being written carry this ending; whoever finds one may delete it.
inline constexpr char kPartialFileEnding[] = ".partial";

// Writes `bytes` to PATH.partial, syncs it, renames it to PATH and syncs the folder. On failure
// nothing is left and the error (DeviceError: disk full, no permission, …) names file and reason.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes);

// The whole file. DataError when it cannot be read or is not a regular file.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path);

}  // namespace sluice
