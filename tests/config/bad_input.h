// A row of the tables of what a person may get wrong, and what they are told: the whole message,
// for the exit code of usage.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "complaint.h"

namespace sluice {

struct BadInput {
  std::string name;
  std::string yaml;  // "data: {train: t}" goes before it, as line 1
  std::vector<std::string> overrides;
  std::string message;
};

inline void PrintTo(const BadInput& row, std::ostream* out) { *out << row.name; }
inline std::string NameOf(const testing::TestParamInfo<BadInput>& row) { return row.param.name; }

inline void ExpectExplained(const BadInput& row) {
  TemporaryFolder folder;
  folder.Write("run.yaml", absl::StrCat("data: {train: t}\n", row.yaml));
  EXPECT_EQ(Complaint(folder, row.overrides), row.message);
}

}  // namespace sluice
