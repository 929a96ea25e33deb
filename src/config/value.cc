#include "config/value.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "config/number_text.h"
#include "config/problems.h"

namespace sluice {
namespace {

using MaybeProblem = std::optional<ValueProblem>;

bool OneOf(absl::string_view text, std::initializer_list<absl::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool IsQuoted(const YAML::Node& node) { return node.Tag() == "!"; }

bool HasNoValue(const YAML::Node& node) {
  return !node.IsDefined() || node.IsNull() ||
         (node.IsScalar() && !IsQuoted(node) &&
          OneOf(node.Scalar(), {"", "~", "null", "Null", "NULL"}));
}

bool Inside(const Constraint& constraint, double value) {
  const auto* range = std::get_if<RealRange>(&constraint);
  if (range == nullptr) return std::isfinite(value);
  // Written so that NaN fails.
  return (range->minimum_excluded ? value > range->minimum : value >= range->minimum) &&
         (range->maximum_excluded ? value < range->maximum : value <= range->maximum);
}

bool Inside(const Constraint& constraint, int64_t value) {
  const auto* range = std::get_if<IntegerRange>(&constraint);
  return range == nullptr || (value >= range->minimum && value <= range->maximum);
}

bool Inside(const Constraint&, uint64_t) { return true; }
bool Inside(const Constraint&, bool) { return true; }

bool Inside(const Constraint& constraint, const std::string& value) {
  const auto* choices = std::get_if<Choices>(&constraint);
  return choices == nullptr ||
         std::find(choices->values.begin(), choices->values.end(), value) != choices->values.end();
}

bool Inside(const Constraint&, const std::vector<std::string>&) { return true; }
bool Inside(const Constraint&, const std::vector<int64_t>&) { return true; }

bool HasControlCharacter(const std::string& text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return absl::ascii_iscntrl(c); });
}

MaybeProblem Read(const Field& field, const YAML::Node& node, std::string* value) {
  if (!node.IsScalar()) return ValueProblem{"not a text", ""};
  *value = node.Scalar();
  if (HasControlCharacter(*value)) return ValueProblem{"control character in a text", ""};
  if (const auto* choices = std::get_if<Choices>(&field.constraint); choices && !IsQuoted(node)) {
    for (const auto& [alias, meant] : choices->aliases) {
      if (absl::EqualsIgnoreCase(*value, alias)) *value = meant;
    }
  }
  if (!Inside(field.constraint, *value)) return ValueProblem{"unknown value", ""};
  return std::nullopt;
}

MaybeProblem Read(const Field&, const YAML::Node& node, bool* value) {
  if (node.IsScalar() && !IsQuoted(node)) {
    *value = OneOf(node.Scalar(), {"true", "True", "TRUE"});
    if (*value || OneOf(node.Scalar(), {"false", "False", "FALSE"})) return std::nullopt;
  }
  return ValueProblem{"neither true nor false", ""};
}

MaybeProblem Read(const Field& field, const YAML::Node& node, double* value) {
  if (!node.IsScalar()) return ValueProblem{"not a number", ""};
  const std::optional<double> parsed = ParseReal(node.Scalar());
  if (!parsed.has_value()) return ValueProblem{"not a number", ""};
  if (IsQuoted(node)) return ValueProblem{"not a number but a text", "remove the quotes"};
  if (!Inside(field.constraint, *parsed)) return ValueProblem{"out of range", ""};
  *value = *parsed;
  return std::nullopt;
}

// Of ParsedInteger to a signed or unsigned 64-bit value; false when it does not fit.
bool Narrow(const ParsedInteger& parsed, int64_t* value) {
  constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();
  if (parsed.magnitude > kLargest) return false;
  *value = parsed.negative ? -static_cast<int64_t>(parsed.magnitude)
                           : static_cast<int64_t>(parsed.magnitude);
  return true;
}

bool Narrow(const ParsedInteger& parsed, uint64_t* value) {
  *value = parsed.magnitude;
  return !parsed.negative;
}

template <typename T>
MaybeProblem ReadInteger(const Field& field, const YAML::Node& node, T* value) {
  if (!node.IsScalar()) return ValueProblem{"not an integer", ""};
  const std::string& text = node.Scalar();
  const std::optional<ParsedInteger> parsed = ParseInteger(text);
  if (!parsed.has_value()) {
    const bool digits_only =
        text.find_first_not_of("0123456789", text[0] == '-' || text[0] == '+') ==
            std::string::npos &&
        text.size() > 18;
    if (digits_only) return ValueProblem{"out of range", ""};
    const std::string meant = SuggestInteger(text);
    return ValueProblem{"not an integer", meant.empty() ? "" : absl::StrCat("write ", meant)};
  }
  if (IsQuoted(node)) return ValueProblem{"not an integer but a text", "remove the quotes"};
  T narrow = 0;
  if (!Narrow(*parsed, &narrow) || !Inside(field.constraint, narrow)) {
    return ValueProblem{"out of range", ""};
  }
  *value = narrow;
  return std::nullopt;
}

MaybeProblem Read(const Field& field, const YAML::Node& node, int64_t* value) {
  return ReadInteger(field, node, value);
}

MaybeProblem Read(const Field& field, const YAML::Node& node, uint64_t* value) {
  return ReadInteger(field, node, value);
}

MaybeProblem CheckList(const YAML::Node& node) {
  if (node.IsScalar()) {
    return ValueProblem{"not a list", absl::StrCat("write [", node.Scalar(), "]")};
  }
  if (!node.IsSequence()) return ValueProblem{"not a list", ""};
  return std::nullopt;
}

MaybeProblem Read(const Field& field, const YAML::Node& node, std::vector<int64_t>* value) {
  if (MaybeProblem problem = CheckList(node)) return problem;
  for (size_t i = 0; i < node.size(); ++i) {
    const YAML::Node item = node[i];
    const std::string which = absl::StrCat("item ", i + 1, " of a list ");
    if (HasNoValue(item)) return ValueProblem{which + "has no value", ""};
    if (MaybeProblem problem = ReadInteger(field, item, &value->emplace_back())) {
      return ValueProblem{absl::StrCat(which, "is ", problem->what), problem->hint};
    }
  }
  return std::nullopt;
}

MaybeProblem Read(const Field&, const YAML::Node& node, std::vector<std::string>* value) {
  if (MaybeProblem problem = CheckList(node)) return problem;
  for (size_t i = 0; i < node.size(); ++i) {
    const YAML::Node item = node[i];
    const std::string which = absl::StrCat("item ", i + 1, " of a list ");
    if (HasNoValue(item)) return ValueProblem{which + "has no value", ""};
    if (!item.IsScalar()) return ValueProblem{which + "is not a text", ""};
    if (item.Scalar().empty()) return ValueProblem{which + "is empty", ""};
    if (HasControlCharacter(item.Scalar())) {
      return ValueProblem{which + "has a control character", ""};
    }
    value->push_back(item.Scalar());
  }
  return std::nullopt;
}

// Plain when every YAML reader takes it for a text, else between double quotes.
std::string Format(const std::string& text) {
  constexpr char kPlain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+";
  const bool plain = !text.empty() && text.find_first_not_of(kPlain) == std::string::npos &&
                     (absl::ascii_isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/' ||
                      text[0] == '_') &&
                     !OneOf(absl::AsciiStrToLower(text),
                            {"null", "true", "false", "yes", "no", "on", "off", "y", "n"});
  if (plain) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}
std::string Format(int64_t value) { return absl::StrCat(value); }
std::string Format(uint64_t value) { return absl::StrCat(value); }
std::string Format(double value) { return RealText(value); }
std::string Format(bool value) { return value ? "true" : "false"; }
std::string Format(const std::vector<int64_t>& list) {
  return absl::StrCat("[", absl::StrJoin(list, ", "), "]");
}
std::string Format(const std::vector<std::string>& list) {
  return absl::StrCat("[",
                      absl::StrJoin(list, ", ",
                                    [](std::string* out, const std::string& item) {
                                      absl::StrAppend(out, Format(item));
                                    }),
                      "]");
}

}  // namespace

std::optional<ValueProblem> SetValue(const Field& field, const YAML::Node& node,
                                     RunConfig* config) {
  if (HasNoValue(node)) return ValueProblem{"no value", ""};
  if (!node.Tag().empty() && node.Tag() != "?" && node.Tag() != "!") {
    return ValueProblem{"YAML tags are not supported", absl::StrCat("remove ", node.Tag())};
  }
  return std::visit(
      [&](auto access) -> MaybeProblem {
        std::decay_t<decltype(access(*config))> value{};
        if (MaybeProblem problem = Read(field, node, &value)) return problem;
        access(*config) = std::move(value);
        return std::nullopt;
      },
      field.access);
}

std::string FormatValue(const Field& field, const RunConfig& config) {
  return std::visit(
      [&](auto access) {
        return Format(
            ValueOf<std::decay_t<decltype(access(std::declval<RunConfig&>()))>>(field, config));
      },
      field.access);
}

bool InRange(const Field& field, const RunConfig& config) {
  return std::visit(
      [&](auto access) {
        return Inside(
            field.constraint,
            ValueOf<std::decay_t<decltype(access(std::declval<RunConfig&>()))>>(field, config));
      },
      field.access);
}

std::string ShowNode(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return "nothing";
  if (node.IsScalar()) return Quote(node.Scalar());
  return node.IsSequence() ? "a list" : "a mapping";
}

}  // namespace sluice
