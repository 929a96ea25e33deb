// metrics.jsonl: one JSON object a line, appended as things happen; docs/formats/metrics.md names
// the fields.
//
//   MetricWriter writer; RETURN_IF_ERROR(writer.Open("runs/toy/metrics.jsonl"));
//   RETURN_IF_ERROR(writer.Write("train", {{"step", 10}, {"loss", 6.2}}));
//   → {"event":"train","step":10,"loss":6.2}
//
// An array of numbers is a JSON array.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice {

using MetricValue = std::variant<int64_t, double, std::string, std::vector<double>>;
using MetricFields = std::vector<std::pair<std::string, MetricValue>>;

class MetricWriter {
 public:
  // Appends to `path`. When a run resumes at `resumed_step` (-1: a new one), lines of later steps
  // that an earlier run left are removed first, as are lines that are no records.
  absl::Status Open(const std::string& path, int64_t resumed_step);
  bool open() const { return stream_.is_open(); }

  // Writes and flushes one line. JSON has no NaN or infinity: such values are written as the
  // strings "nan", "inf", "-inf".
  absl::Status Write(absl::string_view event, const MetricFields& fields);

 private:
  std::string path_;
  std::ofstream stream_;
};

}  // namespace sluice
