// Sums of each sequence apart, so that totals have one order whatever rank did which sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace sluice {

class SequenceSums {
 public:
  SequenceSums(int64_t sequences, int64_t width)
      : width_(width), sums_(static_cast<size_t>(sequences * width)) {}

  double* Of(int64_t sequence) { return sums_.data() + sequence * width_; }
  // Puts in what the other ranks have; collective.
  absl::Status Merge(Communicator& communicator);
  // (width) over all sequences, first to last.
  std::vector<double> Totals() const;

 private:
  int64_t width_;
  std::vector<double> sums_;  // (sequences, width)
};

}  // namespace sluice
