// Strict reading of the small YAML files of a checkpoint: every key known, present and of its type.
// Internal to checkpoint.
//
//   ASSIGN_OR_RETURN(YamlFields fields, YamlFields::Parse(text, path));
//   RETURN_IF_ERROR(fields.Read("step", state.step));
//   RETURN_IF_ERROR(fields.ExpectNoOthers());
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "yaml-cpp/yaml.h"

namespace sluice::checkpoint_internal {

class YamlFields {
 public:
  // The one mapping in `text`; `where` names it in errors.
  static absl::StatusOr<YamlFields> Parse(const std::string& text, const std::string& where);
  static absl::StatusOr<YamlFields> Of(const YAML::Node& node, const std::string& where);

  bool Has(const std::string& key) const { return static_cast<bool>(node_[key]); }
  absl::Status Read(const std::string& key, int64_t& value);
  absl::Status Read(const std::string& key, uint64_t& value);
  absl::Status Read(const std::string& key, double& value);  // .nan, .inf and -.inf too
  absl::Status Read(const std::string& key, std::string& value);
  absl::Status Read(const std::string& key, std::map<std::string, int64_t>& values);
  absl::StatusOr<YAML::Node> ReadSequence(const std::string& key);
  absl::Status ExpectNoOthers() const;

 private:
  YamlFields(const YAML::Node& node, std::string where) : node_(node), where_(std::move(where)) {}
  absl::StatusOr<std::string> Scalar(const std::string& key);
  absl::Status WrongType(const std::string& key, const std::string& found,
                         const char* expected) const;
  template <typename T>
  absl::Status ReadInteger(const std::string& key, T& value);

  YAML::Node node_;
  std::string where_;
  std::set<std::string> read_;
};

// The shortest text that reads back as the same double.
std::string YamlReal(double value);
// A double-quoted YAML scalar.
std::string YamlQuoted(const std::string& text);

}  // namespace sluice::checkpoint_internal
