// Runs of language models that `sluice evaluate` and `sluice quantize` have measured.
//
//   ASSIGN_OR_RETURN(const std::vector<MeasuredRun> runs, ReadMeasuredRuns(folders));
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"

namespace sluice {

// What is known of a model before or after its quantization.
struct Measurement {
  double perplexity = 0;
  std::map<std::string, double> outliers;  // by the names of telemetry/outlier_metrics.h
};

// NaN: it was not measured.
double OutlierOf(const Measurement& measurement, const std::string& name);

// Which outlier metric is which column; docs/metrics.md says why the norm of OPT changes with the
// table.
struct ComparedMetrics {
  std::string norm, int8_norm, kurtosis;
  std::string largest_kurtosis;  // in no table of the paper
};
const ComparedMetrics& ComparedMetricsOf(const std::string& architecture);

// A run folder with evaluate.json and quantize.json: what `sluice evaluate FOLDER --precision fp32
// --json` and `sluice quantize FOLDER --json` print.
struct MeasuredRun {
  std::string folder;
  RunConfig config;
  int64_t step = 0;          // updates of the checkpoint that was measured
  std::string data;          // that it was measured on
  std::string length;        // of its rows, in tokens; of reports that do not say it, empty
  std::string quantization;  // how INT8 came to be: "weights by mse, one range a tensor; …"
  Measurement fp32, int8;
};

// DataError for a file that is missing or is not what it should be, for a report of several data
// sets' first without W8A8, for an evaluation that is not of fp32, and for two reports of different
// checkpoints, data, or sequences.
absl::StatusOr<std::vector<MeasuredRun>> ReadMeasuredRuns(const std::vector<std::string>& folders);

}  // namespace sluice
