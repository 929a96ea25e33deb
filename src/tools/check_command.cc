#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/status.h"
#include "telemetry/bigram_backcopy_check.h"
#include "tools/commands.h"

namespace sluice {
namespace {

struct CheckArguments {
  std::string what, out;
  std::vector<std::string> runs;
  bool strict = false;
};

// Names the thresholds that failed, each once.
absl::Status AskForAllThresholds(const std::vector<Verdict>& verdicts) {
  std::set<std::string> failed;
  for (const Verdict& verdict : verdicts) {
    if (IsFailure(verdict)) failed.insert(absl::StrCat(verdict.check, " ", verdict.arm));
  }
  if (failed.empty()) return absl::OkStatus();
  return UsageError("thresholds are not met", absl::StrJoin(failed, ", "));
}

absl::Status RunCheck(const CheckArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1) {
    return UsageError("check runs on one rank: start it without mpirun");
  }
  ASSIGN_OR_RETURN(const std::vector<SinkRun> runs, ReadSinkRuns(arguments.runs));
  const std::vector<Verdict> verdicts = CheckBigramBackcopy(runs);
  std::printf("%s", VerdictsAsMarkdown(verdicts).c_str());
  if (!arguments.out.empty()) {
    RETURN_IF_ERROR(WriteSinkReport(runs, verdicts, arguments.out));
  }
  return arguments.strict ? AskForAllThresholds(verdicts) : absl::OkStatus();
}

}  // namespace

void AddCheckCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command =
      program.add_subcommand("check", "Hold finished runs against what is known of their task.");
  auto arguments = std::make_shared<CheckArguments>();
  command->add_option("what", arguments->what, "bigram-backcopy: docs/bigram_backcopy.md")
      ->required()
      ->check(CLI::IsMember({"bigram-backcopy"}));
  command->add_option("runs", arguments->runs, "Run folders")->required();
  command->add_option(
      "--out", arguments->out,
      "Also write verdicts.json, verdicts.md, records.csv and charts (.svg) to this folder");
  command->add_flag("--strict", arguments->strict,
                    "Exit with code 1 where a threshold is missed or cannot be measured; not for "
                    "what the runs are too short for");
  command->footer(
      "Example: sluice check bigram-backcopy runs/bigram_backcopy/reduced/*_seed_* --out report");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunCheck(*arguments, communicator);
    };
  });
}

}  // namespace sluice
