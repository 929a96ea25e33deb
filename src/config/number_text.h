// Numbers as configuration text, the same on every locale. Stricter than YAML's many dialects: an
// integer is decimal digits with an optional sign, a number is what C++ reads, "1e-4" included.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// A 64-bit integer of either signedness.
struct ParsedInteger {
  bool negative;
  uint64_t magnitude;
};

// Empty when `text` is not an integer (1_000, 0x10, 1e3, 012, "") or does not fit 64 bits.
std::optional<ParsedInteger> ParseInteger(absl::string_view text);

// Empty when `text` is not a finite decimal number, or does not fit a double.
std::optional<double> ParseReal(absl::string_view text);

// The shortest text that ParseReal turns into the same bits; always with a point, so that every
// YAML reader sees a number: 0.0001, 1.0e-12, 1.0.
std::string RealText(double value);

// What a person may have meant by a text that is not an integer: "1000000" for 1_000_000 and 1e6,
// "8" for 010 and 8.0. Empty when nothing comes to mind.
std::string SuggestInteger(absl::string_view text);

}  // namespace sluice
