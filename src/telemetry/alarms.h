// Alarms on what a run records: one when a threshold is crossed, not at every look while it stays
// so, and one when that is over, which is below nine tenths of the threshold.
//
//   Alarms alarms(config.telemetry.alarms);
//   for (const AlarmNotice& notice : alarms.Look("activations", fields)) LogWarning(Text(notice));
//
// An alarm is one for all places: it names the worst one.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "telemetry/metric_writer.h"

namespace sluice {

struct AlarmNotice {
  bool over = false;  // else: it begins
  std::string name;   // sink_share, max_abs
  std::string where;  // the worst place: layer_3.head_1, layer_3.feed_forward.output
  double value = 0;   // there
  double threshold = 0;
  int64_t places = 0;  // where the threshold is exceeded
};

class Alarms {
 public:
  explicit Alarms(const AlarmConfig& config = {}) : config_(config) {}

  // What the record's fields change: `mass_on_first` of the event `attention` (an array over heads)
  // and `max_abs` of `activations`. A value that is not a number exceeds every threshold.
  std::vector<AlarmNotice> Look(absl::string_view event, const MetricFields& fields);

  // Names of the alarms that have begun and are not over: what a run that goes on has to know.
  const std::set<std::string>& active() const { return active_; }
  void Restore(const std::set<std::string>& active) { active_ = active; }

 private:
  AlarmConfig config_;
  std::set<std::string> active_;
};

// One line for people.
std::string AlarmText(int64_t step, const AlarmNotice& notice);
// Fields of the records `alarm` and `alarm_over`.
MetricFields AlarmFields(int64_t step, const AlarmNotice& notice);

}  // namespace sluice
