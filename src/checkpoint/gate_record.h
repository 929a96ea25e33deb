// What gates did, per layer, head and token class: the record that a checkpoint stores (gates.h5)
// and that telemetry fills and reports. A gate value lies in [0, 1].
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

inline constexpr int kGateHistogramBins = 64;  // bin b holds [b/64, (b+1)/64); the last one also 1
inline constexpr double kGateClosedBelow = 0.05;
inline constexpr double kGateOpenAbove = 0.95;

// One layer, head and token class.
struct GateCell {
  int64_t count = 0;
  double mean = 0;      // 0 when count is 0, like all below
  double variance = 0;  // divisor: count
  double minimum = 0;
  double maximum = 0;
  double entropy = 0;       // mean binary entropy in nats; NaN: in a file from before there was one
  int64_t count_below = 0;  // gates < 0.05
  int64_t count_above = 0;  // gates > 0.95
  std::array<int64_t, kGateHistogramBins> histogram{};

  double deviation() const;
  double share_below() const { return count == 0 ? 0 : static_cast<double>(count_below) / count; }
  double share_above() const { return count == 0 ? 0 : static_cast<double>(count_above) / count; }
  friend bool operator==(const GateCell&, const GateCell&) = default;
};

struct GateStatistics {
  int64_t layers = 0;
  int64_t heads = 0;
  // Names of the token classes; the first is always "all" and covers the others, which may overlap.
  std::vector<std::string> token_classes;
  std::vector<GateCell> cells;  // (layers, heads, token classes)
  int64_t rejected = 0;         // gates that were NaN or outside of [0, 1]; in no cell
  int64_t batches = 0;          // micro-batches that were looked at, over all ranks

  int64_t classes() const { return static_cast<int64_t>(token_classes.size()); }
  bool empty() const { return cells.empty(); }
  const GateCell& cell(int64_t layer, int64_t head, int64_t token_class = 0) const {
    return cells[(layer * heads + head) * classes() + token_class];
  }
  GateCell& cell(int64_t layer, int64_t head, int64_t token_class = 0) {
    return cells[(layer * heads + head) * classes() + token_class];
  }
  // Mean over everything that was counted; 0 when nothing was.
  double OverallMean() const;
  friend bool operator==(const GateStatistics&, const GateStatistics&) = default;
};

}  // namespace sluice
