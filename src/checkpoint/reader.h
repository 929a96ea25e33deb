// Reads a checkpoint folder. Nothing here looks at checksums of whole files: ask VerifyCheckpoint
// (checkpoint/verify.h) or take the folder from FindNewestCheckpoint first.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/checkpoint.h"

namespace sluice {

absl::StatusOr<CheckpointState> ReadCheckpointState(const std::string& folder);
absl::StatusOr<std::string> ReadCheckpointConfig(const std::string& folder);  // config.yaml's text
// Empty where the checkpoint has none.
absl::StatusOr<GateStatistics> ReadCheckpointGates(const std::string& folder);
absl::StatusOr<AttentionStatistics> ReadCheckpointAttention(const std::string& folder);
absl::StatusOr<TelemetryState> ReadCheckpointTelemetry(const std::string& folder);

// The names of the model's tensors.
absl::StatusOr<std::vector<std::string>> ReadCheckpointModelNames(const std::string& folder);

// Fill every destination by name. Nothing is written to them unless the file has exactly these
// names and shapes; else the error names what is missing, what is too many and which shapes differ.
absl::Status ReadCheckpointModel(const std::string& folder,
                                 std::span<const TensorDestination> tensors);
absl::Status ReadCheckpointOptimizer(const std::string& folder,
                                     std::span<const TensorDestination> tensors);

}  // namespace sluice
