// Gate statistics for people and for scripts: what every head's gate did, which heads closed, which
// never act, and what decides (the class of the token).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/gate_record.h"
#include "checkpoint/telemetry_record.h"

namespace sluice {

struct LayerAndHead {
  int64_t layer = 0;
  int64_t head = 0;
  friend bool operator==(const LayerAndHead&, const LayerAndHead&) = default;
};

// Heads whose mean gate is below 0.05: they write (almost) nothing into the stream.
std::vector<LayerAndHead> ClosedHeads(const GateStatistics& gates);
// Heads whose mean gate is above 0.95: the gate never acts, they are ordinary attention.
std::vector<LayerAndHead> OpenHeads(const GateStatistics& gates);

// Plain text, at most 100 columns: a table by layer and head with a histogram over [0, 1], one by
// token class, and the closed and open heads by name ("3.11": layer 3, head 11, from 0).
std::string GateReportText(const GateStatistics& gates);

// {"layers": …, "closed_heads": ["3.11"], "by_head": {"0.0": {"all": {"mean": …}}}}, with
// "attention" (attention_report.h).
std::string GateReportJson(const GateStatistics& gates, const AttentionStatistics& attention);

// `histogram` as `columns` characters from ▁ to █, its highest column full; a space where there is
// nothing. columns divides 64.
std::string DrawHistogram(const std::array<int64_t, kGateHistogramBins>& histogram, int columns);

}  // namespace sluice
