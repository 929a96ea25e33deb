#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/diff.h"
#include "core/json_text.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

constexpr size_t kMostLines = 20;  // of a section, in the text

std::string DifferenceLine(const Difference& difference) {
  std::string line = absl::StrCat("    ", difference.name, ": ", difference.what);
  if (difference.differing_elements > 0) {
    absl::StrAppendFormat(&line, " in %d of %d, at most by %.3g", difference.differing_elements,
                          difference.elements, difference.largest_difference);
  }
  return absl::StrCat(line, "\n");
}

nlohmann::ordered_json DifferenceJson(const Difference& difference) {
  nlohmann::ordered_json json = {{"name", difference.name}, {"what", difference.what}};
  if (difference.differing_elements > 0) {
    json["elements"] = difference.elements;
    json["differing_elements"] = difference.differing_elements;
    if (std::isfinite(difference.largest_difference)) {
      json["largest_difference"] = difference.largest_difference;
    } else {
      json["largest_difference"] = "inf";  // JSON has no infinity
    }
  }
  return json;
}

}  // namespace

std::string DiffText(const CheckpointDiff& diff) {
  std::string text = absl::StrCat("A  ", diff.a, "\nB  ", diff.b, "\n");
  for (const DiffSection& section : diff.sections) {
    absl::StrAppendFormat(&text, "%-10s", section.name);
    if (section.equal()) {
      absl::StrAppend(&text, "equal, ", section.compared, " compared\n");
      continue;
    }
    absl::StrAppend(&text, section.differences.size(), " different, ", section.compared,
                    " compared", section.counts ? "" : " (does not count)", "\n");
    for (size_t i = 0; i < section.differences.size(); ++i) {
      if (i == kMostLines) {
        absl::StrAppend(&text, "    … and ", section.differences.size() - i, " more\n");
        break;
      }
      absl::StrAppend(&text, DifferenceLine(section.differences[i]));
    }
  }
  for (const Difference& note : diff.notes) {
    absl::StrAppend(&text, "note      ", note.name, ": ", note.what, " (does not count)\n");
  }
  return absl::StrCat(text, diff.equal() ? "equal\n" : "different\n");
}

std::string DiffJson(const CheckpointDiff& diff) {
  nlohmann::ordered_json json = {{"equal", diff.equal()}, {"a", diff.a}, {"b", diff.b}};
  for (const DiffSection& section : diff.sections) {
    nlohmann::ordered_json& entry = json["sections"][section.name];
    entry["equal"] = section.equal();
    entry["counts"] = section.counts;
    entry["compared"] = section.compared;
    entry["differences"] = nlohmann::ordered_json::array();
    for (const Difference& difference : section.differences) {
      entry["differences"].push_back(DifferenceJson(difference));
    }
  }
  json["notes"] = nlohmann::ordered_json::array();
  for (const Difference& note : diff.notes) json["notes"].push_back(DifferenceJson(note));
  return absl::StrCat(JsonText(json, 2), "\n");
}

}  // namespace sluice
