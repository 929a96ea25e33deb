// Reads YAML text into nodes that remember their lines; refuses what would be read wrongly without
// a word (tabs, several documents, other encodings). Internal to config.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "yaml-cpp/yaml.h"

namespace sluice {

// The text of a configuration file. Errors: missing, a folder, not readable, longer than 1 MiB.
absl::StatusOr<std::string> ReadConfigFile(const std::string& path);

// The one document in `text`; `where` ("configs/x.yaml" or "override 2") goes into errors, which
// for files also name the line.
absl::StatusOr<YAML::Node> ParseYamlFile(const std::string& text, const std::string& where);
absl::StatusOr<YAML::Node> ParseYamlValue(const std::string& text, const std::string& where);

// A scalar that is `text` itself, whatever YAML would make of it; one line of UTF-8.
absl::StatusOr<YAML::Node> VerbatimText(const std::string& text, const std::string& where);

}  // namespace sluice
