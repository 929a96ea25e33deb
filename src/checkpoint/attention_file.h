// The groups attention/ and state/ of gates.h5.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/array_file.h"
#include "checkpoint/telemetry_record.h"

namespace sluice::checkpoint_internal {

// Nothing where there is nothing.
absl::Status WriteAttention(ArrayFileWriter& file, const AttentionStatistics& attention);
absl::Status WriteTelemetryState(ArrayFileWriter& file, const TelemetryState& state);

// Empty where there is nothing.
absl::StatusOr<AttentionStatistics> ReadAttention(const ArrayFileReader& file);
absl::StatusOr<TelemetryState> ReadTelemetryState(const ArrayFileReader& file);

}  // namespace sluice::checkpoint_internal
