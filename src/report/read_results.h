// Files of a run folder that are not written by training itself, or not at every step:
// evaluate.json and quantize.json (the output of `sluice evaluate --json` and `sluice quantize
// --json`), and attention_maps/step_SSSSSSSS.json.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "report/report_run.h"

namespace sluice {

// One for each data set; the file is one JSON object, or one a line, or a list of them. DataError
// with file and what is wrong.
absl::StatusOr<std::vector<ReportEvaluation>> ReadEvaluations(const std::string& path);
// One for each data set and bit widths.
absl::StatusOr<std::vector<ReportEvaluation>> ReadQuantizations(const std::string& path);
absl::StatusOr<AttentionMaps> ReadAttentionMaps(const std::string& path);

}  // namespace sluice
