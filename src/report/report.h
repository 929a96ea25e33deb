// `sluice report`: runs side by side on one page of HTML that needs nothing else: no network, no
// other file, no script to be read (one adds values under the pointer and copied tables).
// docs/report.md says what each part shows.
//
//   ASSIGN_OR_RETURN(const std::vector<ReportRun> runs, ReadReportRuns({"runs/vanilla",
//   "runs/vga"})); RETURN_IF_ERROR(WriteReport(runs, "report.html"));
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "report/report_run.h"

namespace sluice {

// UTF-8. The same runs give the same bytes.
std::string ReportPage(const std::vector<ReportRun>& runs);

// Written whole or not at all. DeviceError as the file system has it.
absl::Status WriteReport(const std::vector<ReportRun>& runs, const std::string& path);

}  // namespace sluice
