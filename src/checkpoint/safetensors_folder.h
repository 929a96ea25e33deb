// The tensors of a saved model: model.safetensors, or the shards that model.safetensors.index.json
// lists. Errors are CheckpointErrors that name the file.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/safetensors.h"

namespace sluice {

inline constexpr char kSafetensorsFile[] = "model.safetensors";
inline constexpr char kSafetensorsIndexFile[] = "model.safetensors.index.json";

class SafetensorsFolder {
 public:
  // Opens and checks every file's header. A folder must have one of the two, not both; an index
  // names files beside it, and exactly the tensors that they have.
  static absl::StatusOr<SafetensorsFolder> Open(const std::string& folder);

  // Every tensor's name, sorted.
  std::vector<std::string> Names() const;
  const SafetensorsEntry* Find(const std::string& name) const;  // null: no such tensor
  // The file that says what it has: model.safetensors, or the index.
  const std::string& path() const { return path_; }
  absl::Status Read(const std::string& name, std::span<float> values) const;

 private:
  explicit SafetensorsFolder(std::string path) : path_(std::move(path)) {}
  absl::Status AddFile(const std::string& path);
  absl::Status AddShards(const std::string& folder);

  std::string path_;
  std::vector<SafetensorsReader> files_;
  std::map<std::string, size_t> file_of_;  // tensor → position in files_
};

}  // namespace sluice
