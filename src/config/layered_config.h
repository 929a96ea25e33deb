// A RunConfig while it is put together, layer upon layer, with a memory of where each key was set.
// Internal to config; the door is load.h.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/problems.h"
#include "config/provenance.h"
#include "config/run_config.h"
#include "yaml-cpp/yaml.h"

namespace sluice {

class LayeredConfig {
 public:
  // Applies the file, and before it those that it extends. Problems are collected.
  void ApplyFile(const std::string& path);

  // Applies text that is no file; `name` stands for it in problems.
  void ApplyText(const std::string& text, const std::string& name);

  // Applies "key.path=value", the `number`th override, counted from 1.
  void ApplyOverride(int number, const std::string& text);

  RunConfig& config() { return config_; }
  const Provenance& provenance() const { return provenance_; }
  Problems& problems() { return problems_; }

  // False when a file could not be read at all, so that what is missing says nothing.
  bool complete() const { return complete_; }

 private:
  struct OpenFile {
    std::string shown;      // as the user would write it
    std::string canonical;  // to recognize it again
  };

  void ApplyFile(const std::string& path, const std::string& extended_at);
  void ApplyDocument(const absl::StatusOr<std::string>& text, const OpenFile& file,
                     const std::string& extended_at);
  void ApplyExtends(const YAML::Node& root);
  void ApplySection(const YAML::Node& section, const std::string& path);
  void ApplyEntry(const std::string& path, const YAML::Node& value, const std::string& where);
  void AddUnknownKey(const std::string& path, const std::string& where);
  void SetKey(const std::string& key, const YAML::Node& value, const std::string& where);

  RunConfig config_;
  Provenance provenance_;
  Problems problems_;
  bool complete_ = true;
  std::vector<OpenFile> open_files_;  // the file that is being read and those that extend it
};

}  // namespace sluice
