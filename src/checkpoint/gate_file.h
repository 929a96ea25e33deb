// gates.h5: one array a statistic of the gates, and what else telemetry keeps (attention_file.h).
// Internal to checkpoint.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/gate_record.h"
#include "checkpoint/telemetry_record.h"

namespace sluice::checkpoint_internal {

struct GateFile {
  GateStatistics gates;
  AttentionStatistics attention;
  TelemetryState state;
};

// What is empty is left out.
absl::Status WriteGateFile(const std::string& path, const GateStatistics& gates,
                           const AttentionStatistics& attention, const TelemetryState& state);
// What is left out is empty.
absl::StatusOr<GateFile> ReadGateFile(const std::string& path);

}  // namespace sluice::checkpoint_internal
