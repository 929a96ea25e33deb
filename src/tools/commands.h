// The subcommands of `sluice`. Each adds itself to the program and, when it is chosen, leaves in
// `chosen` what main runs. A command parses, calls the library and reports; it decides nothing
// else.
#pragma once

#include <functional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "comm/communicator.h"

namespace sluice {

struct ChosenCommand {
  std::function<absl::Status(Communicator&)> run;
  // Set by `run` when its error is known to this rank alone: main must end the other ranks.
  bool failed_alone = false;
};

void AddTrainCommand(CLI::App& program, ChosenCommand& chosen);
void AddEvaluateCommand(CLI::App& program, ChosenCommand& chosen);
void AddInspectCommand(CLI::App& program, ChosenCommand& chosen);
void AddPredictCommand(CLI::App& program, ChosenCommand& chosen);
void AddQuantizeCommand(CLI::App& program, ChosenCommand& chosen);
void AddExportHfCommand(CLI::App& program, ChosenCommand& chosen);
void AddImportHfCommand(CLI::App& program, ChosenCommand& chosen);
void AddBenchCommand(CLI::App& program, ChosenCommand& chosen);
void AddCheckCommand(CLI::App& program, ChosenCommand& chosen);
void AddCompareCommand(CLI::App& program, ChosenCommand& chosen);
void AddReportCommand(CLI::App& program, ChosenCommand& chosen);
void AddInfoCommand(CLI::App& program, ChosenCommand& chosen);

}  // namespace sluice
