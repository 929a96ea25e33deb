// JSON text that somebody else wrote, read strictly: one object, no key twice.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace sluice {

using Json = nlohmann::ordered_json;

// CheckpointError that names `where` and the byte, or the key that appears twice in one object.
absl::StatusOr<Json> ParseJsonObject(const std::string& text, const std::string& where);
// The same for a small file (at most 64 MiB).
absl::StatusOr<Json> ReadJsonFile(const std::string& path);

}  // namespace sluice
