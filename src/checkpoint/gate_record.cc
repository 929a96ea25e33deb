#include "checkpoint/gate_record.h"

#include <cmath>

namespace sluice {

double GateCell::deviation() const { return std::sqrt(variance); }

double GateStatistics::OverallMean() const {
  double sum = 0;
  int64_t count = 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (int64_t head = 0; head < heads; ++head) {
      const GateCell& all = cell(layer, head);
      sum += all.mean * static_cast<double>(all.count);
      count += all.count;
    }
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

}  // namespace sluice
