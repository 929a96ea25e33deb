#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "telemetry/method_comparison.h"
#include "tools/commands.h"

namespace sluice {
namespace {

struct CompareArguments {
  std::vector<std::string> runs;
  std::string out;
};

absl::Status WriteTables(const std::vector<MethodRow>& rows, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return DeviceError("cannot make folder", folder, error.message());
  RETURN_IF_ERROR(WriteFileAtomically(folder + "/tables.md", TablesAsMarkdown(rows)));
  RETURN_IF_ERROR(WriteFileAtomically(folder + "/tables.json", TablesAsJson(rows)));
  return WriteFileAtomically(folder + "/runs.csv", RunsAsCsv(rows));
}

absl::Status RunCompare(const CompareArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1) {
    return UsageError("compare runs on one rank: start it without mpirun");
  }
  ASSIGN_OR_RETURN(const std::vector<MeasuredRun> runs, ReadMeasuredRuns(arguments.runs));
  ASSIGN_OR_RETURN(const std::vector<MethodRow> rows, CompareMethods(runs));
  std::printf("%s", TablesAsMarkdown(rows).c_str());
  return arguments.out.empty() ? absl::OkStatus() : WriteTables(rows, arguments.out);
}

}  // namespace

void AddCompareCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "compare", "Perplexity, outliers and INT8 of finished runs, beside the paper's tables.");
  auto arguments = std::make_shared<CompareArguments>();
  command
      ->add_option("runs", arguments->runs,
                   "Run folders with evaluate.json and quantize.json: what evaluate --precision "
                   "fp32 --json and quantize --json print")
      ->required();
  command->add_option("--out", arguments->out,
                      "Also write tables.md, tables.json and runs.csv to this folder");
  command->footer("Example: sluice compare runs/language/opt_tiny/*_seed_* --out report");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunCompare(*arguments, communicator);
    };
  });
}

}  // namespace sluice
