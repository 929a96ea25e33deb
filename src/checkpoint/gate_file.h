// GateStatistics as gates.h5: one array a statistic. Internal to checkpoint.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/gate_record.h"

namespace sluice::checkpoint_internal {

absl::Status WriteGateFile(const std::string& path, const GateStatistics& gates);
absl::StatusOr<GateStatistics> ReadGateFile(const std::string& path);

}  // namespace sluice::checkpoint_internal
