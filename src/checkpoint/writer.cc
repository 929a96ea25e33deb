#include "checkpoint/writer.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "checkpoint/array_file.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/durable_file.h"
#include "checkpoint/gate_file.h"
#include "checkpoint/manifest.h"
#include "checkpoint/new_folder.h"
#include "checkpoint/state_file.h"
#include "checkpoint/temporary_name.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

using checkpoint_internal::CopyDurably;
using checkpoint_internal::RemoveTree;
using checkpoint_internal::SyncFile;
using checkpoint_internal::SyncFolder;
using checkpoint_internal::WriteDurably;
using checkpoint_internal::WriteError;

std::vector<int64_t> DimsOf(const Shape& shape) {
  std::vector<int64_t> dims;
  for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape.dim(axis));
  return dims;
}

absl::Status CheckFinite(const std::vector<NamedTensor>& tensors) {
  for (const NamedTensor& tensor : tensors) {
    CHECK_GE(tensor.shape.rank(), 1) << tensor.name;
    CHECK_EQ(tensor.shape.elements(), static_cast<int64_t>(tensor.values.size())) << tensor.name;
    CHECK(!tensor.values.empty()) << tensor.name;
    const auto wrong =
        std::ranges::find_if(tensor.values, [](float x) { return !std::isfinite(x); });
    if (wrong != tensor.values.end()) {
      return DivergedError("refusing to write a checkpoint whose values are not finite",
                           tensor.name,
                           absl::StrCat("element ", wrong - tensor.values.begin(), " is ", *wrong));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteTensors(const std::string& path, const char* kind,
                          const std::vector<NamedTensor>& tensors) {
  ASSIGN_OR_RETURN(ArrayFileWriter file, ArrayFileWriter::Create(path, kind));
  for (const NamedTensor& tensor : tensors) {
    RETURN_IF_ERROR(file.Write(tensor.name, DimsOf(tensor.shape), tensor.values));
  }
  RETURN_IF_ERROR(file.Close());
  return SyncFile(path);
}

// Writes every file of one checkpoint into `folder`, which exists and is empty.
class FolderWriter {
 public:
  FolderWriter(std::string folder, const CheckpointContents& contents,
               const WriteCheckpointOptions& options)
      : folder_(std::move(folder)), contents_(contents), options_(options) {}

  absl::Status WriteAll() {
    RETURN_IF_ERROR(WriteTensors(PathOf(kModelFile), kModelKind, contents_.model));
    Done(kModelFile);
    RETURN_IF_ERROR(WriteTensors(PathOf(kOptimizerFile), kOptimizerKind, contents_.optimizer));
    Done(kOptimizerFile);
    if (!contents_.gates.empty() || !contents_.attention.empty() || !contents_.telemetry.empty()) {
      RETURN_IF_ERROR(checkpoint_internal::WriteGateFile(PathOf(kGatesFile), contents_.gates,
                                                         contents_.attention, contents_.telemetry));
      RETURN_IF_ERROR(SyncFile(PathOf(kGatesFile)));
      Done(kGatesFile);
    }
    RETURN_IF_ERROR(
        WriteDurably(PathOf(kStateFile), checkpoint_internal::StateToYaml(contents_.state)));
    Done(kStateFile);
    RETURN_IF_ERROR(WriteDurably(PathOf(kConfigFile), contents_.config_yaml));
    Done(kConfigFile);
    for (const std::string& file : contents_.files) {
      const std::string name = std::filesystem::path(file).filename().string();
      CHECK(std::ranges::find(written_, name) == written_.end()) << name << " twice";
      RETURN_IF_ERROR(CopyDurably(file, PathOf(name)));
      Done(name);
    }
    for (const auto& [name, text] : contents_.texts) {
      CHECK(std::ranges::find(written_, name) == written_.end()) << name << " twice";
      RETURN_IF_ERROR(WriteDurably(PathOf(name), text));
      Done(name);
    }
    RETURN_IF_ERROR(checkpoint_internal::WriteManifest(folder_, contents_.state.step, written_));
    Done(kManifestFile);
    return SyncFolder(folder_);
  }

 private:
  std::string PathOf(const std::string& name) const { return absl::StrCat(folder_, "/", name); }
  void Done(const std::string& name) {
    written_.push_back(name);
    if (options_.on_progress) options_.on_progress(name);
  }

  const std::string folder_;
  const CheckpointContents& contents_;
  const WriteCheckpointOptions& options_;
  std::vector<std::string> written_;
};

// Gives `temporary` the name `final`. What had that name before is then under the temporary one.
absl::Status MoveIntoPlace(const std::string& temporary, const std::string& final) {
  if (rename(temporary.c_str(), final.c_str()) == 0) return absl::OkStatus();
  if (errno != ENOTEMPTY && errno != EEXIST) return WriteError("cannot rename folder", temporary);
  if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final.c_str(), RENAME_EXCHANGE) == 0) {
    return absl::OkStatus();
  }
  // A file system that cannot exchange: for a moment there is none of this step.
  const std::string old = absl::StrCat(temporary, ".old");
  if (rename(final.c_str(), old.c_str()) != 0) return WriteError("cannot rename folder", final);
  if (rename(temporary.c_str(), final.c_str()) != 0) {
    const absl::Status status = WriteError("cannot rename folder", temporary);
    (void)rename(old.c_str(), final.c_str());
    return status;
  }
  RemoveTree(old);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteCheckpoint(const std::string& checkpoints_folder,
                             const CheckpointContents& contents,
                             const WriteCheckpointOptions& options) {
  RETURN_IF_ERROR(CheckFinite(contents.model));
  RETURN_IF_ERROR(CheckFinite(contents.optimizer));
  const int64_t step = contents.state.step;
  const std::string final = absl::StrCat(checkpoints_folder, "/", CheckpointFolderName(step));
  const std::string temporary =
      absl::StrCat(checkpoints_folder, "/", checkpoint_internal::TemporaryFolderName(step));
  RemoveTree(temporary);
  std::error_code error;
  std::filesystem::create_directories(temporary, error);
  if (error) return DeviceError("cannot create folder", temporary, error.message());

  const auto progress = [&](absl::string_view done) {
    if (options.on_progress) options.on_progress(done);
  };
  absl::Status status = FolderWriter(temporary, contents, options).WriteAll();
  if (status.ok()) {
    progress("synced");
    status = MoveIntoPlace(temporary, final);
  }
  if (status.ok()) {
    progress("renamed");
    status = SyncFolder(checkpoints_folder);
  }
  RemoveTree(temporary);
  return status;
}

absl::Status WriteCheckpointAs(const std::string& folder, const CheckpointContents& contents) {
  RETURN_IF_ERROR(CheckFinite(contents.model));
  RETURN_IF_ERROR(CheckFinite(contents.optimizer));
  const WriteCheckpointOptions options;
  return WriteNewFolder(folder, [&](const std::string& temporary) {
    return FolderWriter(temporary, contents, options).WriteAll();
  });
}

}  // namespace sluice
