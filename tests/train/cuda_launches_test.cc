// What keeps a step from being captured as a CUDA graph and launched again: what differs between
// the launches of a step and those of the next that reads its batch from the same of the two places
// (DeviceBatch). The table in docs/cuda.md has it all; a kernel that begins to differ, or stops to,
// must be put there or taken out.
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "emulator/launch_record.h"
#include "training_run.h"

namespace sluice {
namespace {

using emulator::LaunchRecord;
using testing::TrainingRun;

// Kernel → what of its launches differs: arguments, grid, number.
using Differences = std::map<std::string, std::set<std::string>>;

using ByKernel = std::map<std::string, std::vector<const LaunchRecord*>>;
ByKernel Sorted(const std::vector<LaunchRecord>& launches) {
  ByKernel by_kernel;
  for (const LaunchRecord& launch : launches) by_kernel[launch.kernel].push_back(&launch);
  return by_kernel;
}

void AddDifferences(const std::vector<LaunchRecord>& a, const std::vector<LaunchRecord>& b,
                    Differences& differences) {
  ByKernel before = Sorted(a), after = Sorted(b);
  for (const auto& [kernel, unused] : Sorted(b)) before[kernel];
  for (const auto& [kernel, launches] : before) {
    const std::vector<const LaunchRecord*>& next = after[kernel];
    if (launches.size() != next.size()) differences[kernel].insert("number");
    for (size_t i = 0; i < std::min(launches.size(), next.size()); ++i) {
      const LaunchRecord &x = *launches[i], &y = *next[i];
      if (x.arguments != y.arguments) differences[kernel].insert("arguments");
      if (x.grid != y.grid || x.block != y.block ||
          x.dynamic_shared_bytes != y.dynamic_shared_bytes) {
        differences[kernel].insert("grid");
      }
    }
  }
}

std::vector<std::string> Rows(const Differences& differences) {
  std::vector<std::string> rows;
  for (const auto& [kernel, what] : differences) {
    rows.push_back(absl::StrCat("| `", kernel, "` | ", absl::StrJoin(what, ", "), " |"));
  }
  return rows;
}

// The rows of the table that says which kernels differ, without their last column.
std::vector<std::string> DocumentedRows() {
  std::ifstream file("docs/cuda.md");
  std::vector<std::string> rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "| kernel | differs in |")) inside = true;
    if (inside && line.empty()) break;
    if (!inside || !absl::StartsWith(line, "| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    rows.push_back(absl::StrCat("|", cells[1], "|", cells[2], "|"));
  }
  return rows;
}

class CudaLaunchesTest : public TrainingRun {
 protected:
  // Of each of the steps after the first two.
  std::vector<std::vector<LaunchRecord>> Steps(RunConfig config) const {
    std::vector<std::vector<LaunchRecord>> steps;
    config.runtime.device = "cuda";
    config.training.global_batch_size = 4;
    config.data.validation = {};
    config.training.evaluation_batches = 0;
    config.telemetry.gate_statistics_every = 0;
    RunRanks(1, [&](Communicator& communicator) {
      auto trainer = Trainer::Create({.config = config, .run_folder = Run("run")}, communicator);
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      ASSERT_TRUE((*trainer)->Prepare().ok());
      for (int64_t step = 0; step < config.training.steps; ++step) {
        std::vector<LaunchRecord> launches;
        emulator::RecordLaunches(step < 2 ? nullptr : &launches);
        const absl::Status status = (*trainer)->Step();
        emulator::RecordLaunches(nullptr);
        ASSERT_TRUE(status.ok()) << status;
        if (step >= 2) steps.push_back(std::move(launches));
      }
    });
    return steps;
  }
};

TEST_F(CudaLaunchesTest, WhatDiffersIsDocumented) {
  const auto steps = Steps(Config(8));
  ASSERT_EQ(steps.size(), 6u);
  Differences differences;
  for (size_t i = 0; i + 2 < steps.size(); ++i) {
    ASSERT_GT(steps[i].size(), 20u);
    AddDifferences(steps[i], steps[i + 2], differences);
  }
  EXPECT_EQ(Rows(differences), DocumentedRows()) << "the table should be\n"
                                                 << absl::StrJoin(Rows(differences), "\n");
}

// That it can tell: the update's time is an argument, and so are the two places of batches.
TEST_F(CudaLaunchesTest, StepsDoDiffer) {
  const auto steps = Steps(Config(4));
  ASSERT_EQ(steps.size(), 2u);
  Differences differences;
  AddDifferences(steps[0], steps[0], differences);
  EXPECT_TRUE(differences.empty());
  AddDifferences(steps[0], steps[1], differences);
  EXPECT_FALSE(differences.empty());
}

}  // namespace
}  // namespace sluice
