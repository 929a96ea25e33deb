#include <memory>
#include <string>
#include <vector>

#include "config/load.h"
#include "core/log.h"
#include "core/status.h"
#include "tools/commands.h"
#include "train/trainer.h"

namespace sluice {
namespace {

struct TrainArguments {
  std::string config;
  std::vector<std::string> overrides;
  bool dry_run = false;
  std::string resume = "auto";
  std::string run_folder;
  std::string initial_weights;
};

absl::Status RunTrain(const TrainArguments& arguments, Communicator& communicator,
                      bool& failed_alone) {
  absl::StatusOr<RunConfig> config = LoadRunConfig(arguments.config, arguments.overrides);
  RETURN_IF_ERROR(communicator.Agree(config.status()));
  if (!arguments.initial_weights.empty()) {
    config->training.initial_weights = arguments.initial_weights;
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                   Trainer::Create({.config = *std::move(config),
                                    .run_folder = arguments.run_folder,
                                    .resume = arguments.resume},
                                   communicator));
  if (arguments.dry_run) {
    ASSIGN_OR_RETURN(const std::string start, trainer->DescribeStart());
    LogResult(absl::StrCat(start, "\n", trainer->Describe()));
    return absl::OkStatus();
  }
  const absl::Status status = trainer->Run();
  failed_alone = trainer->failed_alone();
  return status;
}

}  // namespace

void AddTrainCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand("train", "Train a model from a YAML file.");
  auto arguments = std::make_shared<TrainArguments>();
  command
      ->add_option("config", arguments->config,
                   "YAML file; docs/config_reference.md lists its keys")
      ->required();
  command->add_option("overrides", arguments->overrides,
                      "key.path=value, each replaces a value of the file");
  command->add_flag(
      "--dry-run", arguments->dry_run,
      "Check configuration and data, print parameters, memory and communication; write nothing");
  command
      ->add_option("--resume", arguments->resume,
                   "auto: go on from the run folder's newest checkpoint, if any; none: start anew; "
                   "or a checkpoint's folder")
      ->capture_default_str();
  command->add_option(
      "--init-from", arguments->initial_weights,
      "Start a new run from the weights of a checkpoint, a run folder or a Hugging Face folder "
      "(training.initial_weights); what they lack, such as gates, is drawn");
  command->add_option("--run-folder", arguments->run_folder,
                      "Where the run is written (default: runs/NAME)");
  command->footer(
      "Example: mpirun -np 2 sluice train configs/toy/bert_vga.yaml training.steps=200");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments, &chosen](Communicator& communicator) {
      return RunTrain(*arguments, communicator, chosen.failed_alone);
    };
  });
}

}  // namespace sluice
