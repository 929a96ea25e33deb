// Names of folders that are being written or deleted: ".step_00001000.tmp-HOST-PID". Internal to
// checkpoint.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::checkpoint_internal {

// For this process.
std::string TemporaryFolderName(int64_t step);

// Whether the folder `name` is such a one and its writer is surely gone: it ran on this host and
// its process does not exist (or is this one), or it ran elsewhere and `idle_seconds` is more than
// a day.
bool IsAbandoned(const std::string& name, double idle_seconds);

}  // namespace sluice::checkpoint_internal
