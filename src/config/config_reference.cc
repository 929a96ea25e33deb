#include "config/config_reference.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "config/fields.h"
#include "config/value.h"

namespace sluice {
namespace {

constexpr char kIntroduction[] = R"(# Configuration reference

Generated from `src/config/field_table.cc`; do not edit. After a change there:
`build/ci/bin/sluice_config_reference > docs/config_reference.md`.

A configuration is one YAML mapping; `a.b` below is key `b` in section `a`. A step is one optimizer
update, whatever the number of micro-batches and ranks. Paths are relative to the working directory.

- `extends: other.yaml` at the top of a file reads the other file first (relative to the file that
  says so); what this file sets wins. Chains are allowed. Lists are replaced, not joined.
- Overrides on the command line, `key.path=value`, come last and in order. Lists are written `[a, b]`.
- An unknown key, a key set twice in a file, a value of the wrong type or out of range, and a key that
  would be ignored are errors (exit code 1), reported together with file and line.
- Integers are plain digits (`1000000`, not `1_000_000` or `1e6`). Numbers may have an exponent
  (`1e-4`). Truth values are `true` and `false`. A quoted number is a text.

The resolved configuration, every key, is written to the run folder and into each checkpoint.
)";

// Between pipes of a table.
std::string Cell(const std::string& text) { return absl::StrReplaceAll(text, {{"|", "\\|"}}); }

std::string DefaultCell(const Field& field, const RunConfig& defaults) {
  if (field.needed_to_train) return "must be set";
  return absl::StrCat("`", FormatValue(field, defaults), "`");
}

std::string AllowedCell(const Field& field) {
  if (const auto* choices = std::get_if<Choices>(&field.constraint)) {
    return absl::StrCat("`", absl::StrJoin(choices->values, "`, `"), "`");
  }
  const bool bounded = !std::holds_alternative<std::monostate>(field.constraint) ||
                       std::holds_alternative<Access<uint64_t>>(field.access);
  if (!bounded) return "";
  const std::string expected = DescribeExpected(field);  // "an integer from 1 to 8"
  const size_t range = expected.find(' ', expected.find(' ') + 1);
  return expected.substr(range + 1);
}

std::string Row(const Field& field, const RunConfig& defaults) {
  std::string description = field.description;
  for (const ReadWhen& condition : field.read_when) {
    const bool first = &condition == &field.read_when.front();
    absl::StrAppend(&description, first ? ". Only when `" : ", and `", condition.key, "` is ",
                    absl::StrJoin(condition.values, " or "));
  }
  return absl::StrCat("| `", field.key, "` | ", TypeName(field), " | ",
                      Cell(DefaultCell(field, defaults)), " | ", Cell(AllowedCell(field)), " | ",
                      Cell(description), " |\n");
}

}  // namespace

std::string GenerateConfigReference() {
  const RunConfig defaults;
  std::string document = kIntroduction;
  std::string current = "none yet";
  for (const Field& field : FieldTable()) {
    const size_t dot = field.key.find('.');
    const std::string section = dot == std::string::npos ? "" : field.key.substr(0, dot);
    if (section != current) {
      absl::StrAppend(&document, "\n## ", section.empty() ? "The run" : section,
                      "\n\n| key | type | default | allowed | description |\n"
                      "| --- | --- | --- | --- | --- |\n");
      current = section;
    }
    absl::StrAppend(&document, Row(field, defaults));
  }
  return document;
}

}  // namespace sluice
