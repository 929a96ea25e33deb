// A RunConfig as YAML, and what two of them differ in.
//
//   file << DumpRunConfig(config);                                   // config.yaml of a run folder
//   for (const KeyDifference& d : ConfigDifference(saved, asked))    // may a resume go on?
//     LogWarning(absl::StrCat(d.key, ": ", d.a, " became ", d.b));
#pragma once

#include <string>
#include <vector>

#include "config/run_config.h"

namespace sluice {

// Every key that is read, in the order of docs/config_reference.md, defaults included. Keys that
// would be ignored (the gate's, while attention is vanilla) are left out, as LoadRunConfig refuses
// them. Loading the text gives an equal RunConfig; numbers keep their bits.
std::string DumpRunConfig(const RunConfig& config);

struct KeyDifference {
  std::string key;
  std::string a;  // as YAML would write them
  std::string b;
};

// The keys whose values differ, in the same order. Values that are not read do not count unless one
// of the two reads them.
std::vector<KeyDifference> ConfigDifference(const RunConfig& a, const RunConfig& b);

}  // namespace sluice
