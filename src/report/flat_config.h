// Configurations as lists of keys, read without asking whether this program knows the keys: a
// report compares runs of other versions, too.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "report/report_run.h"

namespace sluice {

// Every key of the YAML text, in its order; lists as [a, b]. DataError names `where` and the line.
absl::StatusOr<FlatConfig> ParseFlatConfig(const std::string& text, const std::string& where);

// The attention variant in a word: vanilla, vga, iga, with _key, _channel, _slice where the gate is
// so, learnable_sink_token, …, and +N registers.
std::string VariantName(const FlatConfig& config);

struct ConfigRow {
  std::string key;
  std::vector<std::string> values;  // one a run; "" where the run does not have the key
};
// The keys that not all of `configs` have with the same value, in the order of their first
// appearance. Empty configurations (runs without one) do not count as different.
std::vector<ConfigRow> DifferingKeys(const std::vector<const FlatConfig*>& configs);

// The same text for configurations that differ in nothing but `ignored` keys.
std::string ConfigIdentity(const FlatConfig& config, const std::set<std::string>& ignored);

}  // namespace sluice
