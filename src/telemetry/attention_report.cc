#include "telemetry/attention_report.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace sluice {
namespace {

// The end of a name, where names differ, in words.
std::string Heading(const std::string& name) {
  return absl::StrReplaceAll(name, {{"mass_on_", ""},
                                    {"delta_logit", "Δlogit"},
                                    {"gated_value_norm_ratio", "gated"},
                                    {"value_norm_ratio", "values"},
                                    {"_", " "}});
}

}  // namespace

std::string AttentionReportText(const AttentionStatistics& attention) {
  if (attention.empty()) return "";
  std::string text = absl::StrFormat("attention over %d sequences of %d steps, shares on:\n%-8s",
                                     attention.sequences, attention.looks, "head");
  for (const std::string& name : attention.names) {
    const std::string heading = Heading(name);
    const size_t wide = heading.starts_with("Δ") ? 11 : 10;  // Δ is two bytes
    absl::StrAppendFormat(&text, " %*s", static_cast<int>(wide), heading);
  }
  text += "\n";
  for (int64_t layer = 0; layer < attention.layers; ++layer) {
    for (int64_t head = 0; head < attention.heads; ++head) {
      absl::StrAppendFormat(&text, "%-8s", absl::StrCat(layer, ".", head));
      for (size_t i = 0; i < attention.names.size(); ++i) {
        const double value = attention.value(i, layer, head);
        absl::StrAppendFormat(&text, " %10s",
                              std::isnan(value) ? "-" : absl::StrFormat("%.4f", value));
      }
      text += "\n";
    }
  }
  return text;
}

nlohmann::ordered_json AttentionReportJson(const AttentionStatistics& attention) {
  if (attention.empty()) return nullptr;
  nlohmann::ordered_json json = {{"looks", attention.looks},
                                 {"sequences", attention.sequences},
                                 {"by_head", nlohmann::ordered_json::object()}};
  for (int64_t layer = 0; layer < attention.layers; ++layer) {
    for (int64_t head = 0; head < attention.heads; ++head) {
      auto& entry = json["by_head"][absl::StrCat(layer, ".", head)];
      for (size_t i = 0; i < attention.names.size(); ++i) {
        const double value = attention.value(i, layer, head);
        entry[attention.names[i]] = std::isfinite(value) ? nlohmann::ordered_json(value) : nullptr;
      }
    }
  }
  return json;
}

}  // namespace sluice
