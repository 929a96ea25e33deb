#include "config/dump.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/fields.h"
#include "config/value.h"

namespace sluice {

std::string DumpRunConfig(const RunConfig& config) {
  std::string yaml;
  std::vector<std::string> open;  // the sections that the last key lies in
  for (const Field& field : FieldTable()) {
    if (!IsRead(field, config)) continue;
    std::vector<std::string> parts = absl::StrSplit(field.key, '.');
    const std::string last = parts.back();
    parts.pop_back();
    const auto common = std::mismatch(open.begin(), open.end(), parts.begin(), parts.end());
    for (auto part = common.second; part != parts.end(); ++part) {
      absl::StrAppend(&yaml, std::string(2 * (part - parts.begin()), ' '), *part, ":\n");
    }
    absl::StrAppend(&yaml, std::string(2 * parts.size(), ' '), last, ": ",
                    FormatValue(field, config), "\n");
    open = parts;
  }
  return yaml;
}

std::vector<KeyDifference> ConfigDifference(const RunConfig& a, const RunConfig& b) {
  std::vector<KeyDifference> differences;
  for (const Field& field : FieldTable()) {
    if (!IsRead(field, a) && !IsRead(field, b)) continue;
    KeyDifference difference{field.key, FormatValue(field, a), FormatValue(field, b)};
    if (difference.a != difference.b) differences.push_back(std::move(difference));
  }
  return differences;
}

}  // namespace sluice
