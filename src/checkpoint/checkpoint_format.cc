#include "checkpoint/checkpoint_format.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace sluice {

std::string CheckpointFolderName(int64_t step) { return absl::StrFormat("step_%08d", step); }

std::optional<int64_t> StepOfFolderName(const std::string& name) {
  int64_t step = 0;
  if (!absl::StartsWith(name, "step_") || !absl::SimpleAtoi(name.substr(5), &step) || step < 0 ||
      CheckpointFolderName(step) != name) {
    return std::nullopt;
  }
  return step;
}

}  // namespace sluice
