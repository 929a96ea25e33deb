// The one description of every configuration key. Reading, overriding, checking, dumping and
// docs/config_reference.md all walk FieldTable(), so a key cannot be known to one and not to
// another. To add a key: a member in run_config.h and a row in field_table.cc.
//
//   const Field* field = FindField("model.hidden_size");
//   int64_t& width = std::get<Access<int64_t>>(field->access)(config);
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/run_config.h"

namespace sluice {

// The member that a key names, inside a given RunConfig.
template <typename T>
using Access = T& (*)(RunConfig& config);

using FieldAccess =
    std::variant<Access<std::string>, Access<int64_t>, Access<uint64_t>, Access<double>,
                 Access<bool>, Access<std::vector<std::string>>, Access<std::vector<int64_t>>>;

// Both ends belong to the range.
struct IntegerRange {
  int64_t minimum;
  int64_t maximum;
};

// The maximum belongs to the range unless maximum_excluded; the minimum likewise.
struct RealRange {
  double minimum;
  double maximum;
  bool minimum_excluded = false;
  bool maximum_excluded = false;
};

struct Choices {
  std::vector<std::string> values;
  // What is read as one of them; written is the value itself.
  std::vector<std::pair<std::string, std::string>> aliases = {};
};

using Constraint = std::variant<std::monostate, IntegerRange, RealRange, Choices>;

// The key is read only while the text key `key` has one of `values`; setting it otherwise is an
// error, because it would be ignored.
struct ReadWhen {
  std::string key;
  std::vector<std::string> values;
};

struct Field {
  std::string key;  // dotted: model.attention.gate.source
  FieldAccess access;
  Constraint constraint;
  std::string description;               // one line, with its unit
  std::vector<ReadWhen> read_when = {};  // all of them must hold; none: always read
  bool needed_to_train = false;  // must not be empty when it is read and the run is to be trained
};

// Every key, in the order of run_config.h; the keys of a section lie together.
const std::vector<Field>& FieldTable();

// Null when there is none.
const Field* FindField(absl::string_view key);

// True for "model", "model.attention", …; true for "" too.
bool IsSection(absl::string_view path);

// Keys directly in the section: "model" gives model.architecture, …, model.attention.
std::vector<std::string> KeysOfSection(absl::string_view path);

// The value that `field` names. T must be the field's type.
template <typename T>
const T& ValueOf(const Field& field, const RunConfig& config) {
  // Access functions only form a reference; nothing is written through it here.
  return std::get<Access<T>>(field.access)(const_cast<RunConfig&>(config));
}

// The first of the field's conditions that does not hold in `config`; null when all do.
const ReadWhen* FailedCondition(const Field& field, const RunConfig& config);

// False while the key would be ignored in `config`.
inline bool IsRead(const Field& field, const RunConfig& config) {
  return FailedCondition(field, config) == nullptr;
}

// "text", "integer", "number", "true or false", "list of texts", "list of integers".
std::string TypeName(const Field& field);

// What may be written: "an integer from 1 to 65536", "one of: vanilla, gated", "true or false".
std::string DescribeExpected(const Field& field);

}  // namespace sluice
