// What a run folder says of a run, as far as a report shows it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/gate_record.h"

namespace sluice {

using ReportPoints = std::vector<std::pair<double, double>>;  // step, value; rising steps

// One record of something that each head has.
struct HeadRecord {
  int64_t step = 0;
  std::vector<std::vector<double>> layers;  // layer, head; NaN where nothing was recorded
};

// An alarm that fired, once or often.
struct ReportAlarm {
  std::string name, where;
  int64_t count = 0, first_step = 0, last_step = 0;  // when it began
  std::optional<int64_t> over_step;                  // when it was over after last_step
  double largest = 0;                                // of the values that it began with
  double threshold = 0;
};

struct CheckpointGates {
  int64_t step = 0;
  GateStatistics gates;
};

struct AttentionMapSequence {
  int64_t index = 0;  // of the sequence in its data
  std::vector<std::string> tokens;
  // Layer, head, query, key: probabilities; NaN where the file has no number.
  std::vector<std::vector<std::vector<std::vector<double>>>> layers;
};

struct AttentionMaps {
  int64_t step = 0;
  std::vector<AttentionMapSequence> sequences;
};

// What `sluice evaluate --json` or an entry of `sluice quantize --json` says of one data set.
struct ReportEvaluation {
  std::string data, bits;  // bits: W8A8; empty without quantization
  int64_t step = 0;
  std::optional<double> perplexity, quantized_perplexity;
  std::map<std::string, double> outliers;  // metrics of docs/metrics.md, before quantization
};

using FlatConfig = std::vector<std::pair<std::string, std::string>>;  // key.path, value as text

struct ReportRun {
  std::string folder;
  std::string name;     // unlike that of any other run of the report
  std::string variant;  // vanilla, vga, iga_key, …; empty without a configuration
  FlatConfig config;    // empty: there was none

  // EVENT.FIELD, or EVENT.DATA.FIELD where there is a field `data`; and what is reduced while
  // reading: activations.max_abs (largest of all tensors), activations.kurtosis_per_… (largest and,
  // as mean_kurtosis_per_…, mean), activations.top_channel_share (largest), norms.gradient,
  // norms.update, norms.weight (of all parameters together).
  std::map<std::string, ReportPoints> series;
  // gates.mean, attention.mass_on_first, …
  std::map<std::string, std::vector<HeadRecord>> heads;
  std::map<std::string, double> last_activations, last_norms;  // of the newest record, by field
  std::vector<ReportAlarm> alarms;
  std::vector<CheckpointGates> gates;  // rising steps; only checkpoints that have gates
  std::optional<AttentionMaps> maps;   // of the newest file
  std::vector<ReportEvaluation> evaluations, quantizations;
  std::vector<std::string> notes;  // what could not be read, and what is missing

  std::optional<std::string> Setting(const std::string& key) const;
  std::optional<double> Last(const std::string& series_name) const;
  int64_t last_step() const;  // of any record; 0 when there is none
};

}  // namespace sluice
