#include "report/report_run.h"

#include <algorithm>

namespace sluice {

std::optional<std::string> ReportRun::Setting(const std::string& key) const {
  for (const auto& [setting, value] : config) {
    if (setting == key) return value;
  }
  return std::nullopt;
}

std::optional<double> ReportRun::Last(const std::string& series_name) const {
  const auto found = series.find(series_name);
  if (found == series.end() || found->second.empty()) return std::nullopt;
  return found->second.back().second;
}

int64_t ReportRun::last_step() const {
  double last = 0;
  for (const auto& [series_name, points] : series) {
    if (!points.empty()) last = std::max(last, points.back().first);
  }
  return static_cast<int64_t>(last);
}

}  // namespace sluice
