// Runs that differ in their attention side by side: the two tables of arXiv 2510.09017, of runs
// that `sluice evaluate` and `sluice quantize` have measured, beside the numbers that it prints.
//
//   ASSIGN_OR_RETURN(const std::vector<MeasuredRun> runs, ReadMeasuredRuns(folders));
//   const std::vector<MethodRow> rows = CompareMethods(runs);
//   std::printf("%s", TablesAsMarkdown(rows).c_str());
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "telemetry/measured_run.h"

namespace sluice {

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
// UsageError when two runs have the same name and seed, or the same name and differ in what was
// trained, on what, for how many updates, or in how it was measured.
absl::StatusOr<std::vector<MethodRow>> CompareMethods(const std::vector<MeasuredRun>& runs);

// Both tables of each architecture, what the runs are, and every seed's own numbers.
std::string TablesAsMarkdown(const std::vector<MethodRow>& rows);
std::string TablesAsJson(const std::vector<MethodRow>& rows);
// One line a run, with all outlier metrics before and after.
std::string RunsAsCsv(const std::vector<MethodRow>& rows);

}  // namespace sluice
