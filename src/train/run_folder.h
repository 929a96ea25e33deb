// The folder that a run writes, and nothing outside of it: config.yaml (resolved), log.txt,
// metrics.jsonl, checkpoints/.
#pragma once

#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "telemetry/metric_writer.h"

namespace sluice {

class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // Creates what is missing, writes config.yaml, opens log.txt (appending) and metrics.jsonl. Rank
  // 0 only.
  absl::Status Open(const std::string& config_yaml, int64_t resumed_step);

  const std::string& path() const { return path_; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  std::string checkpoint(int64_t step) const;  // checkpoints/step_00001000
  MetricWriter& metrics() { return metrics_; }

 private:
  std::string path_;
  std::ofstream log_;
  MetricWriter metrics_;
};

}  // namespace sluice
