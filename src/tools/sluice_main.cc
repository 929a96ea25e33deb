// sluice: train, evaluate, inspect, predict, quantize, export-hf, import-hf, bench, check, compare,
// report, info. `sluice COMMAND --help` explains each.
#include <cstdio>
#include <cstdlib>

#include "comm/mpi_communicator.h"
#include "core/error.h"
#include "core/log.h"
#include "core/open_files.h"
#include "core/out_of_memory.h"
#include "core/status.h"
#include "core/version.h"
#include "tools/commands.h"

namespace sluice {
namespace {

// CLI11 has a code for each kind of mistake; scripts see one: usage.
int Parse(CLI::App& program, int argc, char** argv) {
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? -1 : static_cast<int>(ExitCode::kUsage);
  }
  return 0;
}

// A rank that runs out of memory alone leaves the others waiting.
absl::Status Run(ChosenCommand& chosen, Communicator& communicator) {
  bool ran_out = false;
  const absl::Status status = CatchOutOfMemory(
      [&]() -> absl::Status {
        RETURN_IF_ERROR(chosen.run(communicator));
        return FlushStandardOutput();
      },
      &ran_out);
  if (ran_out) chosen.failed_alone = communicator.world_size() > 1;
  return status;
}

int Main(int argc, char** argv) {
  AllowManyOpenFiles();
  CLI::App program(
      "Pretrains BERT and OPT with value-state gated attention, data-parallel, and looks into what "
      "it "
      "made.",
      "sluice");
  program.set_version_flag("--version", kVersion);
  program.require_subcommand(0, 1);  // none is told below: CLI11 would not name an unknown one
  program.footer(
      "Exit codes: 0 done, 1 usage or configuration, 2 data, 3 checkpoint, 4 device or "
      "communication, 5 diverged,\n"
      "75 stopped on request (the same command goes on).");
  ChosenCommand chosen;
  AddTrainCommand(program, chosen);
  AddEvaluateCommand(program, chosen);
  AddInspectCommand(program, chosen);
  AddPredictCommand(program, chosen);
  AddQuantizeCommand(program, chosen);
  AddExportHfCommand(program, chosen);
  AddImportHfCommand(program, chosen);
  AddBenchCommand(program, chosen);
  AddCheckCommand(program, chosen);
  AddCompareCommand(program, chosen);
  AddReportCommand(program, chosen);
  AddInfoCommand(program, chosen);
  if (const int code = Parse(program, argc, argv); code != 0) return code < 0 ? 0 : code;
  if (!chosen.run) {
    std::fprintf(stderr, "a subcommand is wanted\n%s", program.help().c_str());
    return static_cast<int>(ExitCode::kUsage);
  }

  absl::StatusOr<std::unique_ptr<MpiEnvironment>> mpi = MpiEnvironment::Start();
  if (!mpi.ok()) {
    LogError(mpi.status().message());
    return static_cast<int>(ExitCodeOf(mpi.status()));
  }
  Communicator& communicator = (*mpi)->communicator();
  SetLogRank(communicator.rank(), communicator.world_size());
  const absl::Status status = Run(chosen, communicator);
  if (status.ok()) return 0;
  const int code = static_cast<int>(ExitCodeOf(status));
  SetStatusLine("");
  // An error that all ranks share is told once, by rank 0; one that this rank has alone, by this
  // rank.
  if (chosen.failed_alone || communicator.rank() == 0) {
    if (ExitCodeOf(status) == ExitCode::kResumable) {
      LogInfo(status.message());
    } else {
      LogError(status.message());
    }
  }
  if (chosen.failed_alone) AbortAllRanks(code);
  return code;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::Main(argc, argv); }
