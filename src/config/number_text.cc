#include "config/number_text.h"

#include <charconv>
#include <cmath>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace sluice {

std::optional<ParsedInteger> ParseInteger(absl::string_view text) {
  ParsedInteger parsed{false, 0};
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    parsed.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  for (char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return std::nullopt;
  }
  if (!absl::SimpleAtoi(text, &parsed.magnitude)) return std::nullopt;
  if (parsed.magnitude == 0) parsed.negative = false;
  return parsed;
}

std::optional<double> ParseReal(absl::string_view text) {
  if (text.find_first_not_of("0123456789+-.eE") != absl::string_view::npos) return std::nullopt;
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string RealText(double value) {
  if (!std::isfinite(value)) return absl::StrCat(value);
  constexpr size_t kReadableLength = 8;  // 0.000001 is still read at a glance
  char buffer[64];
  std::to_chars_result end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
  if (end.ec != std::errc() || end.ptr - buffer > static_cast<ptrdiff_t>(kReadableLength)) {
    end = std::to_chars(buffer, buffer + sizeof(buffer), value);
  }
  std::string text(buffer, end.ptr);
  if (text.find('.') != std::string::npos) return text;
  const size_t exponent = text.find('e');
  return exponent == std::string::npos ? text + ".0" : text.insert(exponent, ".0");
}

std::string SuggestInteger(absl::string_view text) {
  std::string digits = absl::StrReplaceAll(text, {{"_", ""}, {",", ""}, {"'", ""}, {" ", ""}});
  while (digits.size() > 1 && digits[0] == '0' && absl::ascii_isdigit(digits[1]))
    digits.erase(0, 1);
  if (ParseInteger(digits).has_value()) return digits;
  const std::optional<double> value = ParseReal(digits);
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: above, doubles skip integers
  if (!value.has_value() || *value != std::floor(*value) || std::abs(*value) > kExactIntegers) {
    return "";
  }
  return absl::StrCat(static_cast<int64_t>(*value));
}

}  // namespace sluice
