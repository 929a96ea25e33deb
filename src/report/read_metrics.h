// metrics.jsonl (docs/formats/metrics.md) as series for charts.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "report/report_run.h"

namespace sluice {

// Fills `run`'s series, heads, last_activations, last_norms and alarms from the file; what is torn
// or no JSON becomes a note. Of a step that appears twice the later line counts. DataError when
// the file is there and cannot be read.
absl::Status ReadMetrics(const std::string& path, ReportRun& run);

// The same for the text of a file.
void ParseMetrics(const std::string& text, ReportRun& run);

}  // namespace sluice
