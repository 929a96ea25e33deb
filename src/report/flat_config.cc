#include "report/flat_config.h"

#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "yaml-cpp/yaml.h"

namespace sluice {
namespace {

constexpr int kDeepest = 32;  // levels; configurations have four

void Flatten(const YAML::Node& node, const std::string& prefix, int depth, FlatConfig& flat) {
  if (node.IsMap() && depth < kDeepest) {
    for (const auto& entry : node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "…";
      Flatten(entry.second, prefix.empty() ? key : absl::StrCat(prefix, ".", key), depth + 1, flat);
    }
  } else if (node.IsSequence()) {
    std::vector<std::string> items;
    for (const YAML::Node& item : node) items.push_back(item.IsScalar() ? item.Scalar() : "…");
    flat.emplace_back(prefix, absl::StrCat("[", absl::StrJoin(items, ", "), "]"));
  } else {
    flat.emplace_back(prefix, node.IsScalar() ? node.Scalar() : "null");
  }
}

std::string ValueOf(const FlatConfig& config, const std::string& key) {
  for (const auto& [name, value] : config) {
    if (name == key) return value;
  }
  return "";
}

bool IsOne(const std::string& value) {
  double number = 0;
  return value.empty() || (absl::SimpleAtod(value, &number) && number == 1);
}

// `gate`: what its keys begin with. Keys of later versions may be absent.
std::string GateName(const FlatConfig& config, const std::string& gate) {
  std::string name = ValueOf(config, gate + "source") == "input" ? "iga" : "vga";
  const std::string predictor = ValueOf(config, gate + "predictor");
  if (predictor == "free_scalar") name = "free_gate";  // which reads no source
  if (predictor == "mlp") name += "_mlp";
  if (ValueOf(config, gate + "site") == "key") name += "_key";
  if (ValueOf(config, gate + "granularity") == "channel") name += "_channel";
  if (ValueOf(config, gate + "per_head_slice") == "true") name += "_slice";
  const std::string layers = ValueOf(config, gate + "layers");
  if (!layers.empty() && layers != "[]") absl::StrAppend(&name, ", layers ", layers);
  for (const char* key : {"temperature", "scale"}) {
    const std::string value = ValueOf(config, gate + key);
    if (!IsOne(value)) absl::StrAppend(&name, ", ", key, " ", value);
  }
  return name;
}

}  // namespace

absl::StatusOr<FlatConfig> ParseFlatConfig(const std::string& text, const std::string& where) {
  FlatConfig flat;
  try {
    const YAML::Node root = YAML::Load(text);
    if (!root.IsMap()) return DataError("is not a configuration", where);
    Flatten(root, "", 0, flat);
  } catch (const YAML::Exception& error) {
    return DataError("is not YAML", absl::StrCat(where, ":", error.mark.line + 1), error.msg);
  }
  return flat;
}

std::string VariantName(const FlatConfig& config) {
  const std::string attention = "model.attention.";
  std::string name = ValueOf(config, attention + "variant");
  if (name == "gated") {
    name = GateName(config, attention + "gate.");
  } else if (name == "learnable_sink") {
    absl::StrAppend(&name, "_", ValueOf(config, attention + "learnable_sink"));
  }
  const std::string registers = ValueOf(config, attention + "register_tokens");
  if (!registers.empty() && registers != "0")
    absl::StrAppend(&name, " + ", registers, " registers");
  return name;
}

std::vector<ConfigRow> DifferingKeys(const std::vector<const FlatConfig*>& configs) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::string>> rows;
  size_t present = 0;
  for (size_t run = 0; run < configs.size(); ++run) {
    if (!configs[run]->empty()) ++present;
    for (const auto& [key, value] : *configs[run]) {
      auto [row, novel] = rows.try_emplace(key, configs.size());
      if (novel) order.push_back(key);
      // "" is what a run without the key has; a value that is empty text is told apart.
      row->second[run] = value.empty() ? "\"\"" : value;
    }
  }
  std::vector<ConfigRow> differing;
  if (present < 2) return differing;
  for (const std::string& key : order) {
    const std::vector<std::string>& values = rows[key];
    std::set<std::string> seen;
    for (size_t run = 0; run < configs.size(); ++run) {
      if (!configs[run]->empty()) seen.insert(values[run]);
    }
    if (seen.size() > 1) differing.push_back({key, values});
  }
  return differing;
}

std::string ConfigIdentity(const FlatConfig& config, const std::set<std::string>& ignored) {
  FlatConfig sorted;
  for (const auto& entry : config) {
    if (ignored.count(entry.first) == 0) sorted.push_back(entry);
  }
  std::sort(sorted.begin(), sorted.end());
  std::string identity;
  for (const auto& [key, value] : sorted) absl::StrAppend(&identity, key, "=", value, "\n");
  return identity;
}

}  // namespace sluice
