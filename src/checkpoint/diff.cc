#include "checkpoint/diff.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "checkpoint/array_file.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/reader.h"
#include "checkpoint/yaml_fields.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

using checkpoint_internal::YamlReal;

template <typename T>
double AbsoluteDifference(T a, T b) {
  const double difference = std::abs(static_cast<double>(a) - static_cast<double>(b));
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

template <typename T>
absl::Status CompareNumbers(const ArrayFileReader& a, const ArrayFileReader& b,
                            const ArrayEntry& entry, DiffSection& section) {
  std::vector<T> values_a(entry.elements()), values_b(entry.elements());
  RETURN_IF_ERROR(a.Read(entry.name, values_a));
  RETURN_IF_ERROR(b.Read(entry.name, values_b));
  Difference difference{entry.name, "values differ", entry.elements()};
  for (size_t i = 0; i < values_a.size(); ++i) {
    if (std::memcmp(&values_a[i], &values_b[i], sizeof(T)) == 0) continue;
    ++difference.differing_elements;
    difference.largest_difference =
        std::max(difference.largest_difference, AbsoluteDifference(values_a[i], values_b[i]));
  }
  if (difference.differing_elements > 0) section.differences.push_back(std::move(difference));
  return absl::OkStatus();
}

absl::Status CompareTexts(const ArrayFileReader& a, const ArrayFileReader& b,
                          const ArrayEntry& entry, DiffSection& section) {
  ASSIGN_OR_RETURN(const std::vector<std::string> texts_a, a.ReadTexts(entry.name));
  ASSIGN_OR_RETURN(const std::vector<std::string> texts_b, b.ReadTexts(entry.name));
  if (texts_a != texts_b) section.differences.push_back({entry.name, "texts differ"});
  return absl::OkStatus();
}

absl::Status CompareArray(const ArrayFileReader& a, const ArrayFileReader& b,
                          const ArrayEntry& entry, DiffSection& section) {
  const ArrayEntry* other = b.Find(entry.name);
  if (other == nullptr) {
    section.differences.push_back({entry.name, "only in A"});
    return absl::OkStatus();
  }
  if (other->dims != entry.dims) {
    section.differences.push_back(
        {entry.name, absl::StrCat("shape ", entry.ShapeText(), " vs. ", other->ShapeText())});
    return absl::OkStatus();
  }
  if (other->type != entry.type) {
    section.differences.push_back({entry.name, "types differ"});
    return absl::OkStatus();
  }
  switch (entry.type) {
    case ArrayEntry::Type::kFloat32:
      return CompareNumbers<float>(a, b, entry, section);
    case ArrayEntry::Type::kFloat64:
      return CompareNumbers<double>(a, b, entry, section);
    case ArrayEntry::Type::kInt64:
      return CompareNumbers<int64_t>(a, b, entry, section);
    case ArrayEntry::Type::kText:
      return CompareTexts(a, b, entry, section);
    case ArrayEntry::Type::kOther:
      break;
  }
  return CheckpointError("array has a type that cannot be compared",
                         absl::StrCat(a.path(), "/", entry.name));
}

struct ArrayFileName {
  const char* section;
  const char* file;
  const char* kind;
};
constexpr ArrayFileName kArrayFiles[] = {{"model", kModelFile, kModelKind},
                                         {"optimizer", kOptimizerFile, kOptimizerKind},
                                         {"gates", kGatesFile, kGatesKind}};

absl::StatusOr<DiffSection> DiffArrays(const std::string& folder_a, const std::string& folder_b,
                                       const ArrayFileName& which) {
  DiffSection section{which.section};
  const std::string path_a = absl::StrCat(folder_a, "/", which.file);
  const std::string path_b = absl::StrCat(folder_b, "/", which.file);
  std::error_code error;
  const bool in_a = std::filesystem::exists(path_a, error);
  const bool in_b = std::filesystem::exists(path_b, error);
  if (!in_a && !in_b && std::string(which.file) == kGatesFile) return section;
  if (in_a != in_b) {
    section.differences.push_back({which.file, in_a ? "only in A" : "only in B"});
    return section;
  }
  ASSIGN_OR_RETURN(const ArrayFileReader a, ArrayFileReader::Open(path_a, which.kind));
  ASSIGN_OR_RETURN(const ArrayFileReader b, ArrayFileReader::Open(path_b, which.kind));
  for (const ArrayEntry& entry : a.entries()) {
    RETURN_IF_ERROR(CompareArray(a, b, entry, section));
    ++section.compared;
  }
  for (const ArrayEntry& entry : b.entries()) {
    if (a.Find(entry.name) == nullptr) section.differences.push_back({entry.name, "only in B"});
  }
  return section;
}

// What of the state decides whether two runs are the same.
std::map<std::string, std::string> ComparedState(const CheckpointState& state) {
  std::map<std::string, std::string> values = {
      {"step", absl::StrCat(state.step)},
      {"next_sample", absl::StrCat(state.next_sample)},
      {"epoch", absl::StrCat(state.epoch)},
      {"seed", absl::StrCat(state.seed)},
      {"loss_scale", YamlReal(state.loss_scale)},
      {"best_metric", state.best_metric ? YamlReal(*state.best_metric) : "none"},
      {"best_step", state.best_step ? absl::StrCat(*state.best_step) : "none"},
      {"imported_from", state.imported_from.value_or("none")}};
  for (const auto& [name, value] : state.counters) {
    values[absl::StrCat("counters.", name)] = absl::StrCat(value);
  }
  return values;
}

DiffSection DiffState(const CheckpointState& a, const CheckpointState& b) {
  DiffSection section{"state"};
  const auto values_a = ComparedState(a), values_b = ComparedState(b);
  for (const auto& [key, value] : values_a) {
    ++section.compared;
    const auto other = values_b.find(key);
    if (other == values_b.end()) {
      section.differences.push_back({key, "only in A"});
    } else if (other->second != value) {
      section.differences.push_back({key, absl::StrCat(value, " vs. ", other->second)});
    }
  }
  for (const auto& [key, value] : values_b) {
    if (!values_a.contains(key)) section.differences.push_back({key, "only in B"});
  }
  return section;
}

// Lines that one of the two texts does not have.
DiffSection DiffConfig(const std::string& a, const std::string& b) {
  DiffSection section{.name = "config", .counts = false};
  const std::vector<std::string> lines_a = absl::StrSplit(a, '\n');
  const std::vector<std::string> lines_b = absl::StrSplit(b, '\n');
  const std::multiset<std::string> of_a(lines_a.begin(), lines_a.end());
  const std::multiset<std::string> of_b(lines_b.begin(), lines_b.end());
  section.compared = static_cast<int64_t>(lines_a.size());
  for (const std::string& line : lines_a) {
    if (!of_b.contains(line)) section.differences.push_back({line, "only in A"});
  }
  for (const std::string& line : lines_b) {
    if (!of_a.contains(line)) section.differences.push_back({line, "only in B"});
  }
  if (section.equal() && a != b) section.differences.push_back({"lines", "order or number differ"});
  return section;
}

}  // namespace

bool CheckpointDiff::equal() const {
  return std::ranges::all_of(
      sections, [](const DiffSection& section) { return section.equal() || !section.counts; });
}

absl::StatusOr<CheckpointDiff> DiffCheckpoints(const std::string& a, const std::string& b) {
  CheckpointDiff diff{a, b};
  for (const ArrayFileName& which : kArrayFiles) {
    ASSIGN_OR_RETURN(DiffSection section, DiffArrays(a, b, which));
    diff.sections.push_back(std::move(section));
  }
  ASSIGN_OR_RETURN(const CheckpointState state_a, ReadCheckpointState(a));
  ASSIGN_OR_RETURN(const CheckpointState state_b, ReadCheckpointState(b));
  diff.sections.push_back(DiffState(state_a, state_b));
  if (state_a.world_size != state_b.world_size) {
    diff.notes.push_back(
        {"world_size", absl::StrCat(state_a.world_size, " vs. ", state_b.world_size)});
  }
  if (state_a.sluice_version != state_b.sluice_version) {
    diff.notes.push_back(
        {"sluice_version", absl::StrCat(state_a.sluice_version, " vs. ", state_b.sluice_version)});
  }
  ASSIGN_OR_RETURN(const std::string config_a, ReadCheckpointConfig(a));
  ASSIGN_OR_RETURN(const std::string config_b, ReadCheckpointConfig(b));
  diff.sections.push_back(DiffConfig(config_a, config_b));
  return diff;
}

}  // namespace sluice
