// CheckpointState as state.yaml. Internal to checkpoint.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/checkpoint.h"

namespace sluice::checkpoint_internal {

std::string StateToYaml(const CheckpointState& state);
absl::StatusOr<CheckpointState> StateFromYaml(const std::string& text, const std::string& where);

}  // namespace sluice::checkpoint_internal
