#include "checkpoint/safetensors_folder.h"

#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/json_file.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

// Tensor → file name, from the index.
absl::StatusOr<std::map<std::string, std::string>> ReadWeightMap(const std::string& path) {
  ASSIGN_OR_RETURN(const Json index, ReadJsonFile(path));
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object()) {
    return CheckpointError("index has no object weight_map", path);
  }
  std::map<std::string, std::string> file_of;
  for (const auto& [tensor, file] : weight_map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name == "." || name == ".." || absl::StrContains(name, '/')) {
      return CheckpointError("index names what is no file beside it", path,
                             absl::StrCat("tensor ", tensor, ": ", file.dump()));
    }
    file_of[tensor] = name;
  }
  return file_of;
}

}  // namespace

absl::StatusOr<SafetensorsFolder> SafetensorsFolder::Open(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return CheckpointError("no such folder", folder);
  }
  const std::string single = absl::StrCat(folder, "/", kSafetensorsFile);
  const std::string index = absl::StrCat(folder, "/", kSafetensorsIndexFile);
  const bool has_single = std::filesystem::exists(single, error);
  const bool has_index = std::filesystem::exists(index, error);
  if (has_single && has_index) {
    return CheckpointError("folder has both model.safetensors and its index: which one counts?",
                           folder);
  }
  if (!has_single && !has_index) {
    const bool has_pickle =
        std::filesystem::exists(folder + "/pytorch_model.bin", error) ||
        std::filesystem::exists(folder + "/pytorch_model.bin.index.json", error);
    return CheckpointError(
        has_pickle ? "weights are in pytorch_model.bin, which is not read; save them as "
                     "model.safetensors (save_pretrained of a newer transformers does)"
                   : "folder has neither model.safetensors nor model.safetensors.index.json",
        folder);
  }
  SafetensorsFolder tensors(has_single ? single : index);
  RETURN_IF_ERROR(has_single ? tensors.AddFile(single) : tensors.AddShards(folder));
  return tensors;
}

absl::Status SafetensorsFolder::AddFile(const std::string& path) {
  ASSIGN_OR_RETURN(SafetensorsReader file, SafetensorsReader::Open(path));
  for (const SafetensorsEntry& entry : file.entries()) {
    const auto [other, inserted] = file_of_.try_emplace(entry.name, files_.size());
    if (!inserted) {
      return CheckpointError(
          "two files have the same tensor", path,
          absl::StrCat(entry.name, " is also in ", files_[other->second].path()));
    }
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status SafetensorsFolder::AddShards(const std::string& folder) {
  ASSIGN_OR_RETURN(const auto weight_map, ReadWeightMap(path_));
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  for (const std::string& name : names) {
    RETURN_IF_ERROR(AddFile(absl::StrCat(folder, "/", name)));
  }
  for (const auto& [tensor, file] : weight_map) {
    const auto found = file_of_.find(tensor);
    if (found == file_of_.end() ||
        files_[found->second].path() != absl::StrCat(folder, "/", file)) {
      return CheckpointError("a tensor is not in the file that the index names", path_,
                             absl::StrCat(tensor, ": ", file));
    }
  }
  for (const auto& [tensor, position] : file_of_) {
    if (!weight_map.contains(tensor)) {
      return CheckpointError("a file has a tensor that the index does not name",
                             files_[position].path(), tensor);
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> SafetensorsFolder::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, position] : file_of_) names.push_back(name);
  return names;
}

const SafetensorsEntry* SafetensorsFolder::Find(const std::string& name) const {
  const auto found = file_of_.find(name);
  return found == file_of_.end() ? nullptr : files_[found->second].Find(name);
}

absl::Status SafetensorsFolder::Read(const std::string& name, std::span<float> values) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end()) return CheckpointError("missing tensor", path_, name);
  return files_[found->second].Read(name, values);
}

}  // namespace sluice
