// What telemetry leaves in a checkpoint's gates.h5 beside the gates: what attention did, and sums
// that a resumed run goes on with.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sluice {

// Means per layer and head; docs/metrics.md defines each name.
struct AttentionStatistics {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t looks = 0;      // updates that were looked at
  int64_t sequences = 0;  // in all of them together
  std::vector<std::string> names;
  std::vector<double> values;  // (names, layers, heads); NaN where there was nothing to see

  bool empty() const { return looks == 0; }
  // The heads of a layer, side by side.
  const double* heads_of(size_t name, int64_t layer) const {
    return values.data() + (static_cast<int64_t>(name) * layers + layer) * heads;
  }
  double value(size_t name, int64_t layer, int64_t head) const {
    return heads_of(name, layer)[head];
  }
};

// Flat arrays by name; only their owner knows what is in them.
struct TelemetryState {
  std::map<std::string, std::vector<int64_t>> counts;
  std::map<std::string, std::vector<double>> sums;

  bool empty() const { return counts.empty() && sums.empty(); }
  friend bool operator==(const TelemetryState&, const TelemetryState&) = default;
};

}  // namespace sluice
