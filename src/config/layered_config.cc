#include "config/layered_config.h"

#include <filesystem>
#include <map>
#include <optional>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/fields.h"
#include "config/nearest_key.h"
#include "config/value.h"
#include "config/yaml_text.h"

namespace sluice {
namespace {

std::string Join(const std::string& section, const std::string& key) {
  return section.empty() ? key : absl::StrCat(section, ".", key);
}

std::string Canonical(const std::string& path) {
  std::error_code error;
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(path, error);
  return error ? path : canonical.string();
}

}  // namespace

void LayeredConfig::ApplyFile(const std::string& path) { ApplyFile(path, ""); }

void LayeredConfig::ApplyFile(const std::string& path, const std::string& extended_at) {
  const std::string canonical = Canonical(path);
  for (const OpenFile& open : open_files_) {
    if (open.canonical != canonical) continue;
    complete_ = false;
    problems_.Add("extends goes in a circle", extended_at,
                  absl::StrCat(absl::StrJoin(open_files_, " extends ",
                                             [](std::string* out, const OpenFile& file) {
                                               absl::StrAppend(out, file.shown);
                                             }),
                               " extends ", path));
    return;
  }
  ApplyDocument(ReadConfigFile(path), {path, canonical}, extended_at);
}

void LayeredConfig::ApplyText(const std::string& text, const std::string& name) {
  ApplyDocument(text, {name, name}, "");
}

void LayeredConfig::ApplyDocument(const absl::StatusOr<std::string>& text, const OpenFile& file,
                                  const std::string& extended_at) {
  const std::string& path = file.shown;
  const absl::StatusOr<YAML::Node> root =
      text.ok() ? ParseYamlFile(*text, path) : absl::StatusOr<YAML::Node>(text.status());
  if (!root.ok()) {
    complete_ = false;
    problems_.Add(root.status().message(), "",
                  extended_at.empty() ? "" : absl::StrCat("extended at ", extended_at));
    return;
  }
  if (!root->IsMap()) {
    complete_ = false;
    const bool empty = !root->IsDefined() || root->IsNull();
    problems_.Add(empty ? "configuration is empty" : "configuration is not a mapping",
                  empty ? path : absl::StrCat(path, ":", root->Mark().line + 1),
                  empty ? "" : absl::StrCat("found ", ShowNode(*root)));
    return;
  }
  open_files_.push_back(file);
  ApplyExtends(*root);
  ApplySection(*root, "");
  open_files_.pop_back();
}

// The keys of `root` are applied after this, so that they win over what is extended.
void LayeredConfig::ApplyExtends(const YAML::Node& root) {
  for (const auto& entry : root) {
    if (!entry.first.IsScalar() || entry.first.Scalar() != "extends") continue;
    const std::string shown = open_files_.back().shown;
    const std::string where = absl::StrCat(shown, ":", entry.first.Mark().line + 1);
    if (!entry.second.IsScalar() || entry.second.Scalar().empty()) {
      complete_ = false;
      problems_.Add("extends is not a file name", where,
                    absl::StrCat("extends: ", ShowNode(entry.second), ", expected one file"));
      return;
    }
    const std::filesystem::path folder = std::filesystem::path(shown).parent_path();
    ApplyFile((folder / entry.second.Scalar()).lexically_normal().string(), where);
    return;  // a second `extends` is reported as a duplicate key
  }
}

void LayeredConfig::ApplySection(const YAML::Node& section, const std::string& path) {
  std::map<std::string, int> first_lines;
  for (const auto& entry : section) {
    const int line = entry.first.Mark().line + 1;
    const std::string where = absl::StrCat(open_files_.back().shown, ":", line);
    if (!entry.first.IsScalar()) {
      problems_.Add("key is not a word", where, absl::StrCat("found ", ShowNode(entry.first)));
      continue;
    }
    const std::string key = Join(path, entry.first.Scalar());
    const auto [first, is_new] = first_lines.emplace(key, line);
    if (!is_new) {
      problems_.Add("duplicate key", where,
                    absl::StrCat(Quote(key), ", first set at line ", first->second));
      provenance_.unusable.insert(key);
    }
    if (key == "extends") continue;
    const bool dotted = absl::StrContains(entry.first.Scalar(), '.');
    dotted ? AddUnknownKey(key, where) : ApplyEntry(key, entry.second, where);
  }
}

void LayeredConfig::ApplyEntry(const std::string& path, const YAML::Node& value,
                               const std::string& where) {
  if (FindField(path) != nullptr) return SetKey(path, value, where);
  if (!IsSection(path) || path.empty()) return AddUnknownKey(path, where);
  if (value.IsMap()) return ApplySection(value, path);
  problems_.Add("not a section", where,
                absl::StrCat(path, ": ", ShowNode(value), ", expected a mapping with keys of: ",
                             absl::StrJoin(KeysOfSection(path), ", ")));
  for (const Field& field : FieldTable()) {
    if (absl::StartsWith(field.key, path + ".")) provenance_.unusable.insert(field.key);
  }
}

void LayeredConfig::AddUnknownKey(const std::string& path, const std::string& where) {
  const std::string nearest = NearestKey(path);
  std::string shown = Printable(path);
  if (absl::EndsWith(path, "<<")) {
    absl::StrAppend(&shown, " (YAML merge keys are not supported; use extends)");
  } else if (nearest == path && !path.empty()) {  // "model.hidden_size: 8" as a key of a file
    absl::StrAppend(&shown, ", dotted keys are for overrides; in a file, indent the parts");
  } else if (!nearest.empty()) {
    absl::StrAppend(&shown, ", did you mean ", nearest, "?");
  } else {
    const std::string section = path.substr(0, path.find('.'));
    const std::string listed = IsSection(section) ? section : "";
    absl::StrAppend(&shown, ", known are: ", absl::StrJoin(KeysOfSection(listed), ", "));
  }
  problems_.Add("unknown key", where, shown);
  if (!nearest.empty()) provenance_.unusable.insert(nearest);
}

void LayeredConfig::SetKey(const std::string& key, const YAML::Node& value,
                           const std::string& where) {
  const Field& field = *FindField(key);
  const std::optional<ValueProblem> problem = SetValue(field, value, &config_);
  if (!problem.has_value()) {
    provenance_.set_at[key] = where;
    return;
  }
  provenance_.unusable.insert(key);
  problems_.Add(problem->what, where,
                absl::StrCat(key, ": ", ShowNode(value), ", expected ", DescribeExpected(field),
                             problem->hint.empty() ? "" : absl::StrCat(" (", problem->hint, ")")));
}

void LayeredConfig::ApplyOverride(int number, const std::string& text) {
  const std::string where = absl::StrCat("override ", number);
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    problems_.Add("not key.path=value", where, Quote(text));
    return;
  }
  const std::string key(absl::StripAsciiWhitespace(text.substr(0, equals)));
  const std::string value(absl::StripAsciiWhitespace(text.substr(equals + 1)));
  const Field* field = FindField(key);
  if (key == "extends") {
    problems_.Add("extends belongs into a file", where, Quote(text));
  } else if (field == nullptr && !key.empty() && IsSection(key)) {
    problems_.Add("not a key but a section", where,
                  absl::StrCat(key, ", its keys are: ", absl::StrJoin(KeysOfSection(key), ", ")));
  } else if (field == nullptr) {
    AddUnknownKey(key, where);
  } else {
    // A path such as "a: b" or "x #1" is a text as it stands; elsewhere YAML decides.
    const bool is_text = std::holds_alternative<Access<std::string>>(field->access);
    const bool quoted = absl::StartsWith(value, "'") || absl::StartsWith(value, "\"");
    const absl::StatusOr<YAML::Node> node =
        is_text && !quoted ? VerbatimText(value, where) : ParseYamlValue(value, where);
    if (node.ok()) return SetKey(key, *node, where);
    provenance_.unusable.insert(key);
    problems_.Add(node.status().message(), absl::StrCat(key, "=", Printable(value)), "");
  }
}

}  // namespace sluice
