#include "checkpoint/inspect.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "checkpoint/array_file.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/manifest.h"
#include "checkpoint/reader.h"
#include "core/error.h"
#include "core/status.h"
#include "yaml-cpp/yaml.h"

namespace sluice {
namespace {

void Flatten(const YAML::Node& node, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& flat) {
  if (node.IsMap()) {
    for (const auto& entry : node) {
      const std::string& key = entry.first.Scalar();
      Flatten(entry.second, prefix.empty() ? key : absl::StrCat(prefix, ".", key), flat);
    }
  } else if (node.IsSequence()) {
    std::vector<std::string> items;
    for (const YAML::Node& item : node) items.push_back(item.IsScalar() ? item.Scalar() : "…");
    flat.emplace_back(prefix, absl::StrCat("[", absl::StrJoin(items, ", "), "]"));
  } else {
    flat.emplace_back(prefix, node.IsScalar() ? node.Scalar() : "null");
  }
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> FlatConfig(
    const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadCheckpointConfig(folder));
  std::vector<std::pair<std::string, std::string>> flat;
  try {
    Flatten(YAML::Load(text), "", flat);
  } catch (const YAML::Exception& error) {
    return CheckpointError(
        "is not YAML", absl::StrCat(folder, "/", kConfigFile, ":", error.mark.line + 1), error.msg);
  }
  return flat;
}

TensorSummary Summarize(const ArrayEntry& entry, const std::vector<float>& values) {
  TensorSummary summary{entry.name, entry.dims, entry.elements()};
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
    summary.largest_absolute =
        std::max(summary.largest_absolute, std::abs(static_cast<double>(value)));
  }
  summary.mean = values.empty() ? 0 : sum / static_cast<double>(values.size());
  summary.l2_norm = std::sqrt(squares);
  return summary;
}

}  // namespace

absl::StatusOr<CheckpointSummary> InspectCheckpoint(const std::string& folder) {
  CheckpointSummary summary;
  summary.folder = folder;
  ASSIGN_OR_RETURN(const checkpoint_internal::CheckpointManifest manifest,
                   checkpoint_internal::ReadManifest(folder));
  for (const auto& file : manifest.files) summary.bytes_on_disk += file.identity.bytes;
  ASSIGN_OR_RETURN(summary.state, ReadCheckpointState(folder));
  ASSIGN_OR_RETURN(summary.config, FlatConfig(folder));
  ASSIGN_OR_RETURN(const ArrayFileReader model,
                   ArrayFileReader::Open(absl::StrCat(folder, "/", kModelFile), kModelKind));
  double squares = 0;
  std::vector<float> values;
  for (const ArrayEntry& entry : model.entries()) {
    values.resize(entry.elements());
    RETURN_IF_ERROR(model.Read(entry.name, values));
    summary.model.push_back(Summarize(entry, values));
    summary.parameter_count += entry.elements();
    squares += summary.model.back().l2_norm * summary.model.back().l2_norm;
  }
  summary.parameter_norm = std::sqrt(squares);
  ASSIGN_OR_RETURN(
      const ArrayFileReader optimizer,
      ArrayFileReader::Open(absl::StrCat(folder, "/", kOptimizerFile), kOptimizerKind));
  summary.optimizer_tensors = static_cast<int64_t>(optimizer.entries().size());
  ASSIGN_OR_RETURN(summary.gates, ReadCheckpointGates(folder));
  ASSIGN_OR_RETURN(summary.attention, ReadCheckpointAttention(folder));
  return summary;
}

}  // namespace sluice
