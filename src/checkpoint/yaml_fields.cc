#include "checkpoint/yaml_fields.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::checkpoint_internal {

absl::StatusOr<YamlFields> YamlFields::Parse(const std::string& text, const std::string& where) {
  try {
    return Of(YAML::Load(text), where);
  } catch (const YAML::Exception& error) {
    return CheckpointError("is not YAML", absl::StrCat(where, ":", error.mark.line + 1), error.msg);
  }
}

absl::StatusOr<YamlFields> YamlFields::Of(const YAML::Node& node, const std::string& where) {
  if (!node.IsMap()) return CheckpointError("is not a YAML mapping", where);
  std::set<std::string> keys;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) return CheckpointError("a key is not a text", where);
    if (!keys.insert(entry.first.Scalar()).second) {
      return CheckpointError("a key appears twice", where, entry.first.Scalar());
    }
  }
  return YamlFields(node, where);
}

absl::StatusOr<std::string> YamlFields::Scalar(const std::string& key) {
  read_.insert(key);
  const YAML::Node value = node_[key];
  if (!value) return CheckpointError("a key is missing", where_, key);
  if (!value.IsScalar()) return CheckpointError("a value is not a scalar", where_, key);
  return value.Scalar();
}

absl::Status YamlFields::WrongType(const std::string& key, const std::string& found,
                                   const char* expected) const {
  return CheckpointError(absl::StrCat("a value is not ", expected), where_,
                         absl::StrCat(key, ": ", found));
}

template <typename T>
absl::Status YamlFields::ReadInteger(const std::string& key, T& value) {
  ASSIGN_OR_RETURN(const std::string text, Scalar(key));
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return WrongType(key, text, "an integer");
  }
  return absl::OkStatus();
}

absl::Status YamlFields::Read(const std::string& key, int64_t& value) {
  return ReadInteger(key, value);
}
absl::Status YamlFields::Read(const std::string& key, uint64_t& value) {
  return ReadInteger(key, value);
}

absl::Status YamlFields::Read(const std::string& key, double& value) {
  ASSIGN_OR_RETURN(const std::string scalar, Scalar(key));
  const absl::string_view text = scalar;
  if (text == ".nan" || text == ".inf" || text == "-.inf") {
    const double infinity = std::numeric_limits<double>::infinity();
    value = text == ".nan" ? std::nan("") : text == ".inf" ? infinity : -infinity;
    return absl::OkStatus();
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return WrongType(key, scalar, "a number");
  }
  return absl::OkStatus();
}

absl::Status YamlFields::Read(const std::string& key, std::string& value) {
  ASSIGN_OR_RETURN(value, Scalar(key));
  return absl::OkStatus();
}

absl::Status YamlFields::Read(const std::string& key, std::map<std::string, int64_t>& values) {
  read_.insert(key);
  const YAML::Node node = node_[key];
  if (!node) return CheckpointError("a key is missing", where_, key);
  ASSIGN_OR_RETURN(YamlFields fields, Of(node, absl::StrCat(where_, ": ", key)));
  values.clear();
  for (const auto& entry : node) {
    RETURN_IF_ERROR(fields.Read(entry.first.Scalar(), values[entry.first.Scalar()]));
  }
  return absl::OkStatus();
}

absl::StatusOr<YAML::Node> YamlFields::ReadSequence(const std::string& key) {
  read_.insert(key);
  const YAML::Node node = node_[key];
  if (!node) return CheckpointError("a key is missing", where_, key);
  if (!node.IsSequence()) return CheckpointError("a value is not a list", where_, key);
  return node;
}

absl::Status YamlFields::ExpectNoOthers() const {
  for (const auto& entry : node_) {
    if (!read_.contains(entry.first.Scalar())) {
      return CheckpointError("unknown key", where_, entry.first.Scalar());
    }
  }
  return absl::OkStatus();
}

std::string YamlReal(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  return std::string(buffer, end);
}

std::string YamlQuoted(const std::string& text) {
  YAML::Emitter emitter;
  emitter << YAML::DoubleQuoted << text;
  return emitter.c_str();
}

}  // namespace sluice::checkpoint_internal
