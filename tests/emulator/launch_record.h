// For tests: what was launched, to compare one step's launches with the next one's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice::emulator {

struct LaunchRecord {
  std::string kernel;  // demangled, without parameters, template arguments and namespaces
  std::array<uint32_t, 3> grid, block;
  size_t dynamic_shared_bytes;
  std::vector<uint8_t> arguments;  // of all parameters, one after the other; 0 where nothing reads
  bool operator==(const LaunchRecord&) const = default;
};

// From now on every launch adds itself to *records, in the order of the calls; null: no longer.
void RecordLaunches(std::vector<LaunchRecord>* records);

}  // namespace sluice::emulator
