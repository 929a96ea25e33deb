#include "checkpoint/attention_file.h"

#include <span>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::checkpoint_internal {
namespace {

constexpr char kAttention[] = "attention/";
constexpr char kLooks[] = "attention/looks";
constexpr char kSequences[] = "attention/sequences";
constexpr char kState[] = "state/";

template <typename T>
absl::Status WriteArrays(ArrayFileWriter& file,
                         const std::map<std::string, std::vector<T>>& arrays) {
  for (const auto& [name, values] : arrays) {
    CHECK(!values.empty()) << name;
    RETURN_IF_ERROR(
        file.Write(absl::StrCat(kState, name), {std::ssize(values)}, std::span<const T>(values)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteAttention(ArrayFileWriter& file, const AttentionStatistics& attention) {
  if (attention.empty()) return absl::OkStatus();
  CHECK_EQ(std::ssize(attention.values),
           std::ssize(attention.names) * attention.layers * attention.heads);
  RETURN_IF_ERROR(file.Write(kLooks, {1}, std::span(&attention.looks, 1)));
  RETURN_IF_ERROR(file.Write(kSequences, {1}, std::span(&attention.sequences, 1)));
  const auto cells = static_cast<size_t>(attention.layers * attention.heads);
  for (size_t i = 0; i < attention.names.size(); ++i) {
    RETURN_IF_ERROR(file.Write(absl::StrCat(kAttention, attention.names[i]),
                               {attention.layers, attention.heads},
                               std::span(attention.values).subspan(i * cells, cells)));
  }
  return absl::OkStatus();
}

absl::Status WriteTelemetryState(ArrayFileWriter& file, const TelemetryState& state) {
  RETURN_IF_ERROR(WriteArrays(file, state.counts));
  return WriteArrays(file, state.sums);
}

absl::StatusOr<AttentionStatistics> ReadAttention(const ArrayFileReader& file) {
  AttentionStatistics attention;
  if (file.Find(kLooks) == nullptr) return attention;
  RETURN_IF_ERROR(file.Read(kLooks, std::span(&attention.looks, 1)));
  RETURN_IF_ERROR(file.Read(kSequences, std::span(&attention.sequences, 1)));
  for (const ArrayEntry& entry : file.entries()) {
    if (!absl::StartsWith(entry.name, kAttention) || entry.name == kLooks ||
        entry.name == kSequences) {
      continue;
    }
    if (attention.names.empty() && entry.dims.size() == 2) {
      attention.layers = entry.dims[0];
      attention.heads = entry.dims[1];
    }
    if (entry.dims != std::vector<int64_t>{attention.layers, attention.heads}) {
      return CheckpointError("array has another shape than those beside it",
                             absl::StrCat(file.path(), "/", entry.name), entry.ShapeText());
    }
    attention.names.push_back(entry.name.substr(sizeof(kAttention) - 1));
    const size_t begin = attention.values.size();
    attention.values.resize(begin + static_cast<size_t>(entry.elements()));
    RETURN_IF_ERROR(file.Read(entry.name, std::span(attention.values).subspan(begin)));
  }
  return attention;
}

absl::StatusOr<TelemetryState> ReadTelemetryState(const ArrayFileReader& file) {
  TelemetryState state;
  for (const ArrayEntry& entry : file.entries()) {
    if (!absl::StartsWith(entry.name, kState)) continue;
    const std::string name = entry.name.substr(sizeof(kState) - 1);
    const auto elements = static_cast<size_t>(entry.elements());
    if (entry.type == ArrayEntry::Type::kInt64) {
      std::vector<int64_t>& values = state.counts[name];
      values.resize(elements);
      RETURN_IF_ERROR(file.Read(entry.name, std::span(values)));
    } else {
      std::vector<double>& values = state.sums[name];
      values.resize(elements);
      RETURN_IF_ERROR(file.Read(entry.name, std::span(values)));
    }
  }
  return state;
}

}  // namespace sluice::checkpoint_internal
