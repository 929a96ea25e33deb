// What the loader says to a file in a TemporaryFolder.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "config/load.h"
#include "core/error.h"
#include "temporary_folder.h"

namespace sluice {

// The message of loading run.yaml, with the test's folder taken out; "" when it loads.
inline std::string Complaint(const TemporaryFolder& folder,
                             const std::vector<std::string>& overrides = {},
                             const std::string& file = "run.yaml") {
  const absl::Status status = LoadRunConfig(folder.path() + "/" + file, overrides).status();
  EXPECT_EQ(ExitCodeOf(status), status.ok() ? ExitCode::kDone : ExitCode::kUsage);
  const std::string message(status.message());
  return absl::StrReplaceAll(
      message,
      {{folder.path() + "/", ""}, {std::filesystem::canonical(folder.path()).string() + "/", ""}});
}

}  // namespace sluice
