// The folder that a run writes, and nothing outside of it: config.yaml (resolved), log.txt,
// metrics.jsonl, tensorboard/, checkpoints/. One run at a time writes it: log.txt is locked (flock)
// while it does, so a second one ends before it touches anything, and a killed one leaves no lock.
#pragma once

#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "telemetry/run_record.h"

namespace sluice {

class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // Creates what is missing, locks log.txt, writes config.yaml, opens log.txt (appending) and
  // the record. Rank 0 only. UsageError when another run has the lock, DeviceError for what the
  // file system refuses.
  absl::Status Open(const std::string& config_yaml, int64_t resumed_step, bool tensorboard);

  const std::string& path() const { return path_; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  std::string checkpoint(int64_t step) const;  // checkpoints/step_00001000
  RunRecord& record() { return record_; }

 private:
  absl::Status Lock(const std::string& log_path);

  std::string path_;
  int lock_ = -1;  // descriptor of log.txt
  std::ofstream log_;
  RunRecord record_;
};

}  // namespace sluice
