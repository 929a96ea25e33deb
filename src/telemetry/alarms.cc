#include "telemetry/alarms.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sluice {
namespace {

constexpr double kOverBelow = 0.9;  // of the threshold

struct Place {
  std::string where;
  double value;
};

// What of a record an alarm looks at.
struct Watched {
  absl::string_view event, field, name;
  double AlarmConfig::*threshold;
};
constexpr Watched kWatched[] = {
    {"attention", ".mass_on_first", "sink_share", &AlarmConfig::sink_share},
    {"activations", ".max_abs", "max_abs", &AlarmConfig::max_abs}};

// Of the fields that end in `suffix`: numbers, and arrays over heads.
std::vector<Place> PlacesOf(const MetricFields& fields, absl::string_view suffix) {
  std::vector<Place> places;
  for (const auto& [name, value] : fields) {
    if (!absl::EndsWith(name, suffix)) continue;
    const std::string where = name.substr(0, name.size() - suffix.size());
    if (const auto* number = std::get_if<double>(&value); number != nullptr) {
      places.push_back({where, *number});
    } else if (const auto* heads = std::get_if<std::vector<double>>(&value); heads != nullptr) {
      for (size_t head = 0; head < heads->size(); ++head) {
        places.push_back({absl::StrCat(where, ".head_", head), (*heads)[head]});
      }
    }
  }
  return places;
}

bool Exceeds(double value, double threshold) { return !(value <= threshold); }

// Both values are NaN, or neither: NaN is the worst.
bool Worse(double a, double b) { return std::isnan(a) ? !std::isnan(b) : a > b; }

}  // namespace

std::vector<AlarmNotice> Alarms::Look(absl::string_view event, const MetricFields& fields) {
  std::vector<AlarmNotice> notices;
  for (const Watched& watched : kWatched) {
    const double threshold = config_.*watched.threshold;
    if (threshold == 0 || event != watched.event) continue;
    const std::vector<Place> places = PlacesOf(fields, watched.field);
    if (places.empty()) continue;
    AlarmNotice notice;
    notice.name = std::string(watched.name);
    notice.threshold = threshold;
    const Place* worst = &places[0];
    for (const Place& place : places) {
      if (Exceeds(place.value, threshold)) ++notice.places;
      if (Worse(place.value, worst->value)) worst = &place;
    }
    notice.where = worst->where;
    notice.value = worst->value;
    const bool active = active_.contains(notice.name);
    notice.over = active && !Exceeds(notice.value, kOverBelow * threshold);
    if (active ? !notice.over : notice.places == 0) continue;
    if (notice.over) {
      active_.erase(notice.name);
    } else {
      active_.insert(notice.name);
    }
    notices.push_back(std::move(notice));
  }
  return notices;
}

std::string AlarmText(int64_t step, const AlarmNotice& notice) {
  const std::string what =
      notice.name == "sink_share" ? "attention mass on the first token" : "largest |x|";
  if (notice.over) {
    return absl::StrFormat(
        "alarm over at step %d: %s is %.4g (%s), well below telemetry.alarms.%s %.4g", step, what,
        notice.value, notice.where, notice.name, notice.threshold);
  }
  return absl::StrFormat("alarm at step %d: %s is %.4g in %s, above telemetry.alarms.%s %.4g%s",
                         step, what, notice.value, notice.where, notice.name, notice.threshold,
                         notice.places > 1 ? absl::StrCat(", in ", notice.places, " places") : "");
}

MetricFields AlarmFields(int64_t step, const AlarmNotice& notice) {
  return {{"step", step},
          {"name", notice.name},
          {"where", notice.where},
          {"value", notice.value},
          {"threshold", notice.threshold}};
}

}  // namespace sluice
