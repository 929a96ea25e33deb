#include "telemetry/sequence_sums.h"

#include <span>

namespace sluice {

absl::Status SequenceSums::Merge(Communicator& communicator) {
  return communicator.AllReduceSum(std::span<double>(sums_));
}

std::vector<double> SequenceSums::Totals() const {
  std::vector<double> totals(static_cast<size_t>(width_));
  for (size_t i = 0; i < sums_.size(); ++i) totals[i % totals.size()] += sums_[i];
  return totals;
}

}  // namespace sluice
