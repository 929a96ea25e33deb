// Where the keys of a configuration were set. Internal to config.
#pragma once

#include <map>
#include <set>
#include <string>

namespace sluice {

struct Provenance {
  std::map<std::string, std::string> set_at;  // key → "configs/x.yaml:14" or "override 2"
  std::set<std::string> unusable;             // keys whose value was refused: they prove nothing
};

}  // namespace sluice
