#include "checkpoint/reader.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "checkpoint/array_file.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/durable_file.h"
#include "checkpoint/gate_file.h"
#include "checkpoint/state_file.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

constexpr size_t kMostProblems = 8;  // named in one error

bool SameShape(const ArrayEntry& entry, const Shape& shape) {
  if (static_cast<int>(entry.dims.size()) != shape.rank()) return false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (entry.dims[axis] != shape.dim(axis)) return false;
  }
  return true;
}

absl::Status CheckNamesAndShapes(const ArrayFileReader& file,
                                 std::span<const TensorDestination> tensors) {
  std::vector<std::string> problems;
  std::set<std::string> wanted;
  for (const TensorDestination& tensor : tensors) {
    CHECK_EQ(tensor.shape.elements(), static_cast<int64_t>(tensor.values.size())) << tensor.name;
    CHECK(wanted.insert(tensor.name).second) << tensor.name << " twice";
    const ArrayEntry* entry = file.Find(tensor.name);
    if (entry == nullptr) {
      problems.push_back(absl::StrCat("missing tensor ", tensor.name));
    } else if (entry->type != ArrayEntry::Type::kFloat32) {
      problems.push_back(absl::StrCat("tensor ", tensor.name, " is not fp32"));
    } else if (!SameShape(*entry, tensor.shape)) {
      problems.push_back(absl::StrCat("tensor ", tensor.name, " has shape ", entry->ShapeText(),
                                      ", expected ", tensor.shape.ToString()));
    }
  }
  for (const ArrayEntry& entry : file.entries()) {
    if (!wanted.contains(entry.name)) {
      problems.push_back(absl::StrCat("unexpected tensor ", entry.name));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  const size_t all = problems.size();
  problems.resize(std::min(all, kMostProblems));
  if (all > kMostProblems) problems.push_back(absl::StrCat("and ", all - kMostProblems, " more"));
  return CheckpointError("does not fit the model", file.path(), absl::StrJoin(problems, "; "));
}

absl::Status ReadTensors(const std::string& path, const char* kind,
                         std::span<const TensorDestination> tensors) {
  ASSIGN_OR_RETURN(const ArrayFileReader file, ArrayFileReader::Open(path, kind));
  RETURN_IF_ERROR(CheckNamesAndShapes(file, tensors));
  for (const TensorDestination& tensor : tensors) {
    RETURN_IF_ERROR(file.Read(tensor.name, tensor.values));
  }
  return absl::OkStatus();
}

absl::StatusOr<checkpoint_internal::GateFile> ReadGateFileIn(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kGatesFile);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return checkpoint_internal::GateFile();
  return checkpoint_internal::ReadGateFile(path);
}

}  // namespace

absl::StatusOr<CheckpointState> ReadCheckpointState(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kStateFile);
  ASSIGN_OR_RETURN(const std::string text, checkpoint_internal::ReadSmallFile(path));
  return checkpoint_internal::StateFromYaml(text, path);
}

absl::StatusOr<std::string> ReadCheckpointConfig(const std::string& folder) {
  return checkpoint_internal::ReadSmallFile(absl::StrCat(folder, "/", kConfigFile));
}

absl::StatusOr<GateStatistics> ReadCheckpointGates(const std::string& folder) {
  ASSIGN_OR_RETURN(checkpoint_internal::GateFile file, ReadGateFileIn(folder));
  return std::move(file.gates);
}

absl::StatusOr<AttentionStatistics> ReadCheckpointAttention(const std::string& folder) {
  ASSIGN_OR_RETURN(checkpoint_internal::GateFile file, ReadGateFileIn(folder));
  return std::move(file.attention);
}

absl::StatusOr<TelemetryState> ReadCheckpointTelemetry(const std::string& folder) {
  ASSIGN_OR_RETURN(checkpoint_internal::GateFile file, ReadGateFileIn(folder));
  return std::move(file.state);
}

absl::StatusOr<std::vector<std::string>> ReadCheckpointModelNames(const std::string& folder) {
  ASSIGN_OR_RETURN(const ArrayFileReader file,
                   ArrayFileReader::Open(absl::StrCat(folder, "/", kModelFile), kModelKind));
  std::vector<std::string> names;
  for (const ArrayEntry& entry : file.entries()) names.push_back(entry.name);
  return names;
}

absl::Status ReadCheckpointModel(const std::string& folder,
                                 std::span<const TensorDestination> tensors) {
  return ReadTensors(absl::StrCat(folder, "/", kModelFile), kModelKind, tensors);
}

absl::Status ReadCheckpointOptimizer(const std::string& folder,
                                     std::span<const TensorDestination> tensors) {
  return ReadTensors(absl::StrCat(folder, "/", kOptimizerFile), kOptimizerKind, tensors);
}

}  // namespace sluice
