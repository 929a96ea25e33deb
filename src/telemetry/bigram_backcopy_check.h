// Whether runs on the Bigram-Backcopy task show what the literature says of them: the acceptance
// thresholds T1 to T12 of docs/bigram_backcopy.md, each with its figure.
//
//   ASSIGN_OR_RETURN(const auto runs, ReadSinkRuns(folders));
//   const std::vector<Verdict> verdicts = CheckBigramBackcopy(runs);
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

struct SinkRecord {
  int64_t step = 0;
  std::map<std::string, double> values;  // fields of the record, those of layer_L. without prefix
};

struct SinkRun {
  std::string folder;
  // vanilla, vga, iga, vga_key, iga_key, relu: one layer by AdamW, with linear gates a head as the
  // paper's. Anything else, of which nothing is judged, has what differs in its name:
  // vanilla_3_layers, vga_channel, vanilla_sgd, …
  std::string arm;
  uint64_t seed = 0;
  int64_t batch = 0, hidden_size = 0, length = 0;
  std::string table = "synthetic";  // data.table
  int64_t triggers = 3;             // data.triggers
  std::vector<SinkRecord> records;  // rising steps, at least one

  int64_t last_step() const { return records.back().step; }
  // Of the last record up to `step`; NaN where that does not have the field.
  double At(const std::string& field, int64_t step) const;
  // The last step up to `step` of a record with the field, which the ablations are not in all of;
  // -1: there is none.
  int64_t LastWith(const std::string& field, int64_t step) const;
  // Whether figures of the two are of the same task: table, triggers, batch, width and length.
  bool Comparable(const SinkRun& other) const;
};

// From the config.yaml and metrics.jsonl of each run folder; of models with several layers the
// middle one. DataError where there is no record.
absl::StatusOr<std::vector<SinkRun>> ReadSinkRuns(const std::vector<std::string>& folders);

struct Verdict {
  std::string check;  // T1 … T12
  std::string arm;
  std::string what;   // with the threshold
  uint64_t seed = 0;  // unless of_all_seeds
  bool of_all_seeds = false;
  int64_t step = 0;   // at which the figure was taken
  double figure = 0;  // NaN: the run does not say
  bool passed = false;
  bool gating = true;   // false: reported only
  bool bounded = true;  // false: a figure without a threshold
  // The runs ended before the step that the threshold is for, and longer ones may change the
  // verdict: not where a largest or smallest figure has missed already.
  bool early = false;
};

std::vector<Verdict> CheckBigramBackcopy(const std::vector<SinkRun>& runs);

// Whether a threshold that counts was missed, or could not be measured: not what is reported only,
// and not what the run was too short for.
bool IsFailure(const Verdict& verdict);

// For people: a table, with "pass", "FAIL", or what stands in the way of either, and how many seeds
// it is about.
std::string VerdictsAsMarkdown(const std::vector<Verdict>& verdicts);
std::string VerdictsAsJson(const std::vector<Verdict>& verdicts);

// Writes verdicts.json, verdicts.md, records.csv (every figure of every record) and a chart for
// each curve (.svg) to `folder`, which it makes.
absl::Status WriteSinkReport(const std::vector<SinkRun>& runs, const std::vector<Verdict>& verdicts,
                             const std::string& folder);

}  // namespace sluice
