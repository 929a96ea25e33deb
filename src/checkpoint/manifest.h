// manifest.yaml: the size and checksum of every file of a checkpoint, and of the manifest itself.
// Written last, so a folder with a manifest that verifies is a whole checkpoint. Internal to
// checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/durable_file.h"

namespace sluice::checkpoint_internal {

struct ManifestEntry {
  std::string name;
  FileIdentity identity;
};

struct CheckpointManifest {
  int64_t step = 0;
  std::vector<ManifestEntry> files;
  bool Has(const std::string& name) const;
};

// Reads every file named and writes the manifest durably.
absl::Status WriteManifest(const std::string& folder, int64_t step,
                           const std::vector<std::string>& names);

// Errors: missing, damaged, foreign, of another format version.
absl::StatusOr<CheckpointManifest> ReadManifest(const std::string& folder);

}  // namespace sluice::checkpoint_internal
