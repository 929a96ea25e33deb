#include "config/fields.h"

#include <algorithm>
#include <type_traits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/number_text.h"
#include "core/check.h"

namespace sluice {
namespace {

std::string DescribeReal(const RealRange& range) {
  const std::string minimum = RealText(range.minimum);
  const std::string maximum = RealText(range.maximum);
  return absl::StrCat("a number from ", minimum, " to ", maximum,
                      range.minimum_excluded ? absl::StrCat(", ", minimum, " excluded") : "",
                      range.maximum_excluded ? absl::StrCat(", ", maximum, " excluded") : "");
}

}  // namespace

const Field* FindField(absl::string_view key) {
  for (const Field& field : FieldTable()) {
    if (field.key == key) return &field;
  }
  return nullptr;
}

bool IsSection(absl::string_view path) {
  if (path.empty()) return true;
  const std::string prefix = absl::StrCat(path, ".");
  return std::any_of(FieldTable().begin(), FieldTable().end(),
                     [&](const Field& field) { return absl::StartsWith(field.key, prefix); });
}

std::vector<std::string> KeysOfSection(absl::string_view path) {
  const std::string prefix = path.empty() ? "" : absl::StrCat(path, ".");
  std::vector<std::string> keys;
  for (const Field& field : FieldTable()) {
    if (!absl::StartsWith(field.key, prefix)) continue;
    const std::string key = field.key.substr(0, field.key.find('.', prefix.size()));
    if (keys.empty() || keys.back() != key) keys.push_back(key);
  }
  return keys;
}

const ReadWhen* FailedCondition(const Field& field, const RunConfig& config) {
  for (const ReadWhen& read_when : field.read_when) {
    const Field* condition = FindField(read_when.key);
    CHECK(condition != nullptr) << field.key << " depends on the unknown key " << read_when.key;
    const std::vector<std::string>& values = read_when.values;
    const auto found =
        std::find(values.begin(), values.end(), ValueOf<std::string>(*condition, config));
    if (found == values.end()) return &read_when;
  }
  return nullptr;
}

std::string TypeName(const Field& field) {
  return std::visit(
      [](auto access) -> std::string {
        using T = std::decay_t<std::invoke_result_t<decltype(access), RunConfig&>>;
        if constexpr (std::is_same_v<T, std::string>) {
          return "text";
        } else if constexpr (std::is_same_v<T, double>) {
          return "number";
        } else if constexpr (std::is_same_v<T, bool>) {
          return "true or false";
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          return "list of texts";
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          return "list of integers";
        } else {
          static_assert(std::is_integral_v<T>);
          return "integer";
        }
      },
      field.access);
}

std::string DescribeExpected(const Field& field) {
  if (const auto* integers = std::get_if<IntegerRange>(&field.constraint)) {
    return absl::StrCat("an integer from ", integers->minimum, " to ", integers->maximum);
  }
  if (const auto* reals = std::get_if<RealRange>(&field.constraint)) return DescribeReal(*reals);
  if (const auto* choices = std::get_if<Choices>(&field.constraint)) {
    std::string expected = absl::StrCat("one of: ", absl::StrJoin(choices->values, ", "));
    for (const auto& [alias, value] : choices->aliases) {
      absl::StrAppend(&expected, "; ", alias, " is ", value);
    }
    return expected;
  }
  if (std::holds_alternative<Access<uint64_t>>(field.access)) {
    return "an integer from 0 to 18446744073709551615";
  }
  if (std::holds_alternative<Access<std::vector<std::string>>>(field.access)) {
    return "a list such as [a, b]";
  }
  if (std::holds_alternative<Access<std::vector<int64_t>>>(field.access)) {
    return "a list such as [0, 1]";
  }
  return TypeName(field);
}

}  // namespace sluice
