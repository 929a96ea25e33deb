// One field's value, from YAML and to YAML. Internal to config.
#pragma once

#include <optional>
#include <string>

#include "config/fields.h"
#include "yaml-cpp/yaml.h"

namespace sluice {

// Why a value was refused: "not an integer", and a hint on what to write (may be empty).
struct ValueProblem {
  std::string what;
  std::string hint;
};

// Reads `node` into the member of `config` that `field` names. Strict: no conversions between
// types, no nulls, no numbers outside the field's range. On a problem nothing is written.
std::optional<ValueProblem> SetValue(const Field& field, const YAML::Node& node, RunConfig* config);

// The value as YAML flow text that SetValue reads back to the same bits.
std::string FormatValue(const Field& field, const RunConfig& config);

// Whether the value that is there now lies in the field's range; for configurations that were not
// read from a file.
bool InRange(const Field& field, const RunConfig& config);

// `node` on one line, for messages.
std::string ShowNode(const YAML::Node& node);

}  // namespace sluice
