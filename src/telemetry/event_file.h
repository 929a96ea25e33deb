// TensorBoard event files: scalars, histograms and images of a run, in the folder that `tensorboard
// --logdir` is pointed at.
//
//   EventFile events;
//   RETURN_IF_ERROR(events.Open("runs/toy/tensorboard", resumed_step));
//   RETURN_IF_ERROR(events.Write(20, {{"train/loss", 6.2}}));
//   RETURN_IF_ERROR(events.Write(20, {{"gates/layer_0/head_3", {.bounds = …, .counts = …}}}));
//
// A file is a chain of records: length (u64), masked CRC-32C of it, an Event in protocol buffers'
// encoding, masked CRC-32C of that (TensorFlow's tfrecord and event.proto). Each start of a run
// writes a file of its own.
#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

struct EventScalar {
  std::string tag;
  double value;  // stored as fp32, which may be NaN or infinite
};

// bounds[i] is where bucket i ends (its begin is bounds[i - 1]); rising.
struct EventHistogram {
  std::string tag;
  double minimum = 0, maximum = 0, count = 0, sum = 0, sum_of_squares = 0;
  std::vector<double> bounds, counts;
};

struct EventImage {
  std::string tag;
  int64_t width = 0, height = 0;  // pixels
  std::string png;                // grey
};

class EventFile {
 public:
  // Creates `folder` and a new file in it. When a run resumes at `resumed_step`, events of later
  // steps that a killed run left, and a torn or damaged end, are removed from the older files.
  absl::Status Open(const std::string& folder, int64_t resumed_step);
  bool open() const { return stream_.is_open(); }
  const std::string& path() const { return path_; }

  // One event, flushed; nothing when there is nothing in it.
  absl::Status Write(int64_t step, const std::vector<EventScalar>& scalars,
                     const std::vector<EventHistogram>& histograms = {},
                     const std::vector<EventImage>& images = {});

 private:
  absl::Status Append(const std::string& event);

  std::string path_;
  std::ofstream stream_;
};

// What precedes and follows each record's bytes.
std::string EncodeEventRecord(absl::string_view event);

struct EventRecords {
  std::vector<std::string> events;  // encoded, in order
  int64_t bytes = 0;                // of the file that they fill; less than all: its end is torn
};
// DataError when `path` cannot be read.
absl::StatusOr<EventRecords> ReadEventRecords(const std::string& path);
// Its step; 0 for an event that has none.
int64_t StepOfEvent(absl::string_view event);

// CRC-32C (Castagnoli, RFC 3720 appendix B.4), and as record files store it.
uint32_t Crc32c(absl::string_view bytes);
uint32_t MaskedCrc32c(absl::string_view bytes);

}  // namespace sluice
