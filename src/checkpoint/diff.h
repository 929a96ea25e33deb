// What two checkpoints differ in: the tool behind every claim that two runs are the same.
//
//   ASSIGN_OR_RETURN(const CheckpointDiff diff, DiffCheckpoints(a, b));
//   std::cout << (json ? DiffJson(diff) : DiffText(diff));
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

struct Difference {
  std::string name;                // array or key
  std::string what;                // "values differ", "only in A", "1000 vs. 2000", …
  int64_t elements = 0;            // arrays of numbers: how many, and
  int64_t differing_elements = 0;  // of how many the bits differ
  double largest_difference = 0;   // |a - b|; infinity when a NaN is on one side only
};

// model, optimizer, gates, state, or config.
struct DiffSection {
  std::string name;
  int64_t compared = 0;  // arrays or keys
  // Whether it decides CheckpointDiff::equal. Config does not: it has paths and thread counts.
  bool counts = true;
  std::vector<Difference> differences = {};
  bool equal() const { return differences.empty(); }
};

struct CheckpointDiff {
  std::string a, b;  // the folders
  std::vector<DiffSection> sections = {};
  // Of the state, but no difference between runs: ranks that wrote it, version of the program.
  std::vector<Difference> notes = {};
  // Every tensor, moment, gate statistic and piece of state has the same bits.
  bool equal() const;
};

// Arrays are equal when their bits are (so 0 and -0 differ, and a NaN equals itself).
// CheckpointError when a folder cannot be read.
absl::StatusOr<CheckpointDiff> DiffCheckpoints(const std::string& a, const std::string& b);

std::string DiffText(const CheckpointDiff& diff);
std::string DiffJson(const CheckpointDiff& diff);  // {"equal": …, "sections": {"model": …}}

}  // namespace sluice
