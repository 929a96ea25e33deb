#include "report/read_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

using Json = nlohmann::json;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kMostLayers = 4096;  // what names more layers is not a model's record

// JSON has no NaN and no infinity: these are written as texts.
std::optional<double> NumberOf(const Json& json) {
  if (json.is_number()) return json.get<double>();
  if (!json.is_string()) return std::nullopt;
  const auto& text = json.get_ref<const std::string&>();
  if (text == "nan") return kNan;
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

struct LayerField {
  int64_t layer;
  std::string field;
};

// "layer_3.mass_on_first"
std::optional<LayerField> SplitLayer(absl::string_view name) {
  const size_t dot = name.find('.');
  int64_t layer = 0;
  if (!absl::StartsWith(name, "layer_") || dot == absl::string_view::npos ||
      !absl::SimpleAtoi(name.substr(6, dot - 6), &layer) || layer < 0 || layer >= kMostLayers) {
    return std::nullopt;
  }
  return LayerField{layer, std::string(name.substr(dot + 1))};
}

// What a record is when it has been parsed, whatever its event.
class Record {
 public:
  Record(const Json& json, ReportRun& run)
      : json_(json), run_(run), step_(json["step"].get<double>()) {
    event_ = json["event"].get<std::string>();
    const auto data = json.find("data");
    prefix_ = event_ + ".";
    if (data != json.end() && data->is_string()) {
      absl::StrAppend(&prefix_, data->get<std::string>(), ".");
    }
  }

  void Add() {
    if (event_ == "alarm") return AddAlarm();
    if (event_ == "alarm_over") return EndAlarm();
    if (event_ == "activations") return AddActivations();
    if (event_ == "norms") return AddNorms();
    for (const auto& [name, value] : json_.items()) {
      if (name == "step") continue;
      if (value.is_array()) {
        AddHeads(name, value);
      } else if (const auto number = NumberOf(value); number.has_value()) {
        AddPoint(prefix_ + name, *number);
      }
    }
  }

 private:
  void AddPoint(const std::string& series, double value) {
    run_.series[series].emplace_back(step_, value);
  }

  void AddHeads(const std::string& name, const Json& values) {
    const auto place = SplitLayer(name);
    if (!place.has_value()) return;
    std::vector<HeadRecord>& records = run_.heads[event_ + "." + place->field];
    const auto step = static_cast<int64_t>(step_);
    if (records.empty() || records.back().step != step)
      records.push_back({.step = step, .layers = {}});
    auto& layers = records.back().layers;
    if (static_cast<int64_t>(layers.size()) <= place->layer) layers.resize(place->layer + 1);
    layers[place->layer].clear();
    for (const Json& value : values) layers[place->layer].push_back(NumberOf(value).value_or(kNan));
  }

  void AddActivations() {
    constexpr const char* kMetrics[] = {"max_abs", "kurtosis_per_sequence", "kurtosis_per_token",
                                        "top_channel_share"};
    std::map<std::string, double> fields;
    for (const auto& [name, value] : json_.items()) {
      const auto number = NumberOf(value);
      if (name != "step" && number.has_value()) fields[name] = *number;
    }
    for (const char* metric : kMetrics) {
      double largest = -std::numeric_limits<double>::infinity(), sum = 0, count = 0;
      for (const auto& [name, value] : fields) {
        if (!absl::EndsWith(name, absl::StrCat(".", metric))) continue;
        largest = std::isnan(value) || value > largest ? value : largest;
        sum += value;
        ++count;
      }
      if (count == 0) continue;
      AddPoint(absl::StrCat("activations.", metric), largest);
      AddPoint(absl::StrCat("activations.mean_", metric), sum / count);
    }
    run_.last_activations = std::move(fields);
  }

  void AddNorms() {
    std::map<std::string, double> fields;
    std::map<std::string, double> squares;
    for (const auto& [name, value] : json_.items()) {
      const auto number = NumberOf(value);
      const size_t dot = name.find('.');
      if (!number.has_value() || dot == std::string::npos) continue;
      fields[name] = *number;
      squares[name.substr(0, dot)] += *number * *number;
    }
    for (const auto& [kind, sum] : squares) AddPoint("norms." + kind, std::sqrt(sum));
    if (squares.count("update") > 0 && squares.count("weight") > 0) {
      AddPoint("norms.update_over_weight", std::sqrt(squares["update"] / squares["weight"]));
    }
    run_.last_norms = std::move(fields);
  }

  std::string TextOf(const char* name) const {
    const auto found = json_.find(name);
    return found != json_.end() && found->is_string() ? found->get<std::string>() : "";
  }
  double FieldOf(const char* name) const {
    const auto found = json_.find(name);
    return found == json_.end() ? kNan : NumberOf(*found).value_or(kNan);
  }

  std::vector<ReportAlarm>::iterator FindAlarm() {
    const std::string name = TextOf("name"), where = TextOf("where");
    return std::find_if(run_.alarms.begin(), run_.alarms.end(), [&](const ReportAlarm& alarm) {
      return alarm.name == name && alarm.where == where;
    });
  }

  void AddAlarm() {
    auto found = FindAlarm();
    const auto step = static_cast<int64_t>(step_);
    const double value = FieldOf("value");
    if (found == run_.alarms.end()) {
      found = run_.alarms.insert(found, {.name = TextOf("name"),
                                         .where = TextOf("where"),
                                         .first_step = step,
                                         .over_step = {},
                                         .largest = value});
    }
    ++found->count;
    found->last_step = step;
    found->over_step.reset();
    if (std::isnan(value) || value > found->largest) found->largest = value;
    found->threshold = FieldOf("threshold");
  }

  void EndAlarm() {
    const auto found = FindAlarm();
    if (found != run_.alarms.end()) found->over_step = static_cast<int64_t>(step_);
  }

  const Json& json_;
  ReportRun& run_;
  double step_;
  std::string event_, prefix_;
};

constexpr double kMostSteps = 1e15;  // more are no step, and no 64-bit integer in the end

bool IsRecord(const Json& json) {
  if (!json.is_object() || !json.contains("event") || !json["event"].is_string()) return false;
  const auto step = json.find("step");
  return step != json.end() && step->is_number() && std::abs(step->get<double>()) <= kMostSteps;
}

// Rising steps, one of each: the last that was written.
template <typename Items, typename StepOf>
void SortBySteps(Items& items, const StepOf& step_of) {
  std::stable_sort(items.begin(), items.end(),
                   [&](const auto& a, const auto& b) { return step_of(a) < step_of(b); });
  Items kept;
  for (auto& item : items) {
    if (!kept.empty() && step_of(kept.back()) == step_of(item)) {
      kept.back() = std::move(item);
    } else {
      kept.push_back(std::move(item));
    }
  }
  items = std::move(kept);
}

}  // namespace

void ParseMetrics(const std::string& text, ReportRun& run) {
  int64_t broken = 0, first_broken = 0, number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const bool torn = end == std::string::npos;  // no newline: being written, or killed meanwhile
    const auto json =
        Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                    torn ? text.end() : text.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                    /*allow_exceptions=*/false);
    ++number;
    begin = torn ? text.size() : end + 1;
    if (IsRecord(json)) {
      Record(json, run).Add();
    } else if (torn) {
      run.notes.push_back("metrics.jsonl: the last line is torn and was left out");
    } else if (broken++ == 0) {
      first_broken = number;
    }
  }
  if (broken > 0) {
    run.notes.push_back(absl::StrCat("metrics.jsonl: ", broken,
                                     broken == 1 ? " line is" : " lines are",
                                     " no record and left out, first line ", first_broken));
  }
  for (auto& [name, points] : run.series) {
    SortBySteps(points, [](const auto& point) { return point.first; });
  }
  for (auto& [name, records] : run.heads) {
    SortBySteps(records, [](const HeadRecord& record) { return record.step; });
  }
}

absl::Status ReadMetrics(const std::string& path, ReportRun& run) {
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path));
  ParseMetrics(text, run);
  return absl::OkStatus();
}

}  // namespace sluice
