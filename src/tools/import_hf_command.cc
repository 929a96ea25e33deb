#include <cstdio>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/json_text.h"
#include "core/status.h"
#include "nlohmann/json.hpp"
#include "tools/commands.h"
#include "train/huggingface_import.h"

namespace sluice {
namespace {

struct ImportArguments {
  std::string folder, checkpoint;
  bool json = false;
};

void Print(const ImportArguments& arguments, const ImportReport& report) {
  if (arguments.json) {
    const nlohmann::ordered_json json = {{"folder", arguments.folder},
                                         {"checkpoint", arguments.checkpoint},
                                         {"parameters", report.parameters},
                                         {"left_out", report.left_out}};
    std::printf("%s\n", JsonText(json).c_str());
    return;
  }
  std::printf("%s: step 0, %ld parameters\n", arguments.checkpoint.c_str(),
              static_cast<long>(report.parameters));
  for (const std::string& name : report.left_out) {
    std::printf("left out, the model has no such head: %s\n", name.c_str());
  }
}

absl::Status RunImport(const ImportArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1) {
    return UsageError("import-hf runs on one rank: start it without mpirun");
  }
  ASSIGN_OR_RETURN(
      const ImportReport report,
      ImportFromHuggingFace({.folder = arguments.folder, .checkpoint = arguments.checkpoint}));
  Print(arguments, report);
  return absl::OkStatus();
}

}  // namespace

void AddImportHfCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "import-hf", "Make a checkpoint of a model that Hugging Face's transformers saved.");
  auto arguments = std::make_shared<ImportArguments>();
  command
      ->add_option("folder", arguments->folder,
                   "With config.json, model.safetensors and the tokenizer")
      ->required();
  command->add_option("checkpoint", arguments->checkpoint, "To be made; nothing is overwritten")
      ->required();
  command->add_flag("--json", arguments->json, "One JSON object");
  command->footer(
      "Example: sluice import-hf downloaded/bert imported/bert\n"
      "Then:    sluice train CONFIG --resume imported/bert");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunImport(*arguments, communicator);
    };
  });
}

}  // namespace sluice
