// A folder that appears under its name complete and on disk, or not at all.
//
//   RETURN_IF_ERROR(WriteNewFolder("out/model", [&](const std::string& folder) {
//     return WriteSafetensors(folder + "/model.safetensors", tensors, {});
//   }));
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace sluice {

// UsageError unless nothing has the name `path`, or an empty folder does: nothing is overwritten.
absl::Status CheckFolderIsNew(const std::string& path);

// Checks that, lets `fill` write into a temporary folder beside `path` (every file durably), and
// renames it. On an error the temporary folder is removed. DeviceError for what the file system
// refuses.
absl::Status WriteNewFolder(const std::string& path,
                            const std::function<absl::Status(const std::string& temporary)>& fill);

}  // namespace sluice
