// Statistics of attention for people and for scripts.
#pragma once

#include <string>

#include "checkpoint/telemetry_record.h"
#include "nlohmann/json.hpp"

namespace sluice {

// A table by layer and head, at most 100 columns wide; empty without statistics.
std::string AttentionReportText(const AttentionStatistics& attention);

// {"looks": …, "sequences": …, "by_head": {"0.0": {"mass_on_first": …}}}; null without.
nlohmann::ordered_json AttentionReportJson(const AttentionStatistics& attention);

}  // namespace sluice
