// A run folder (docs/formats/run_folder.md) as a report reads it.
//
//   ASSIGN_OR_RETURN(const std::vector<ReportRun> runs, ReadReportRuns({"runs/vanilla",
//   "runs/vga"}));
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "report/report_run.h"

namespace sluice {

// Reads config.yaml, metrics.jsonl, gates.h5 of the checkpoints, the newest file of attention_maps,
// evaluate.json and quantize.json, each where it is there. A file that is damaged becomes a note of
// its run. A folder given twice is read once. DataError where a folder is no run: it is
// not there, is a file or a checkpoint, or has neither config.yaml nor metrics.jsonl.
absl::StatusOr<std::vector<ReportRun>> ReadReportRuns(const std::vector<std::string>& folders);

}  // namespace sluice
