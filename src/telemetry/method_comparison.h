// Runs that differ in their attention side by side: the two tables of arXiv 2510.09017, of runs
// that `sluice evaluate` and `sluice quantize` have measured, beside the numbers that it prints.
//
//   ASSIGN_OR_RETURN(const std::vector<MeasuredRun> runs, ReadMeasuredRuns(folders));
//   const std::vector<MethodRow> rows = CompareMethods(runs);
//   std::printf("%s", TablesAsMarkdown(rows).c_str());
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
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
  std::string quantization;  // how INT8 came to be: "weights by mse, one range a tensor; …"
  Measurement fp32, int8;
};

// DataError for a file that is missing or is not what it should be, for a report of several data
// sets' first without W8A8, for an evaluation that is not of fp32, and for two reports of different
// checkpoints, data, or sequences.
absl::StatusOr<std::vector<MeasuredRun>> ReadMeasuredRuns(const std::vector<std::string>& folders);

// Over the seeds of a method: the sample's standard deviation (divisor n - 1); NaN for one seed.
struct Spread {
  double mean = 0, deviation = 0;
  int64_t count = 0;
};

// One line of both tables.
struct MethodRow {
  std::string architecture;       // bert or opt
  std::string method;             // as the paper calls it, where it has it
  std::vector<MeasuredRun> runs;  // by rising seed
  // Max I+O Norm and average kurtosis are other reductions for other models: docs/metrics.md.
  Spread perplexity, norm, kurtosis;
  Spread int8_perplexity, int8_gap, int8_norm, int8_kurtosis;
  // What the paper prints, "15.49 ± 0.00"; empty where it has no such row.
  std::vector<std::string> paper;       // perplexity, norm, kurtosis
  std::vector<std::string> paper_int8;  // perplexity, difference, norm, kurtosis
};

// Runs of one name (config.name) and architecture become a row; rows in the order of the paper.
// UsageError when two runs have the same name and seed.
absl::StatusOr<std::vector<MethodRow>> CompareMethods(const std::vector<MeasuredRun>& runs);

// Both tables of each architecture, what the runs are, and every seed's own numbers.
std::string TablesAsMarkdown(const std::vector<MethodRow>& rows);
std::string TablesAsJson(const std::vector<MethodRow>& rows);
// One line a run, with all outlier metrics before and after.
std::string RunsAsCsv(const std::vector<MethodRow>& rows);

}  // namespace sluice
