#include <cstdio>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/json_text.h"
#include "core/status.h"
#include "nlohmann/json.hpp"
#include "tools/checkpoint_tokenizer.h"
#include "tools/commands.h"
#include "train/huggingface_export.h"
#include "train/load_model.h"

namespace sluice {
namespace {

struct ExportArguments {
  std::string checkpoint, folder;
  bool json = false;
};

TokenizerIdentity IdentityOf(const Tokenizer& tokenizer) {
  const SpecialTokens& special = tokenizer.special();
  return {.kind = std::string(tokenizer.kind()),
          .cased = tokenizer.cased(),
          .vocabulary_size = tokenizer.vocabulary_size(),
          .special = {.pad = special.pad,
                      .unk = special.unk,
                      .cls = special.cls,
                      .sep = special.sep,
                      .mask = special.mask,
                      .bos = special.bos,
                      .eos = special.eos},
          .vocabulary_sha256 = tokenizer.vocabulary_sha256()};
}

void Print(const ExportArguments& arguments, const ExportReport& report) {
  if (arguments.json) {
    const nlohmann::ordered_json json = {
        {"checkpoint", report.checkpoint}, {"step", report.step},
        {"folder", arguments.folder},      {"tensors", report.tensors},
        {"parameters", report.parameters}, {"own_parameters", report.own_parameters},
        {"attention", report.attention}};
    std::printf("%s\n", JsonText(json).c_str());
    return;
  }
  std::printf("%s: step %ld, %ld tensors, %ld parameters\n", arguments.folder.c_str(),
              static_cast<long>(report.step), static_cast<long>(report.tensors),
              static_cast<long>(report.parameters));
  if (report.attention != "vanilla") {
    std::printf(
        "transformers has no attention variants: it computes plain attention in the place of %s\n",
        report.attention.c_str());
  }
  if (report.own_parameters.empty()) return;
  std::printf("transformers calls %zu of the tensors unexpected: %s, ...\n",
              report.own_parameters.size(), report.own_parameters.front().c_str());
}

absl::Status RunExport(const ExportArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1) {
    return UsageError("export-hf runs on one rank: start it without mpirun");
  }
  ASSIGN_OR_RETURN(const std::string checkpoint, ResolveCheckpoint(arguments.checkpoint));
  RETURN_IF_ERROR(CheckCanBeExported(checkpoint));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, LoadCheckpointTokenizer(checkpoint));
  ASSIGN_OR_RETURN(const ExportReport report,
                   ExportToHuggingFace({.checkpoint = checkpoint,
                                        .folder = arguments.folder,
                                        .tokenizer = IdentityOf(*tokenizer)}));
  Print(arguments, report);
  return absl::OkStatus();
}

}  // namespace

void AddExportHfCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "export-hf", "Write a checkpoint as a folder that Hugging Face's transformers loads.");
  auto arguments = std::make_shared<ExportArguments>();
  command
      ->add_option("checkpoint", arguments->checkpoint,
                   "A checkpoint, or a run folder (its newest)")
      ->required();
  command->add_option("folder", arguments->folder, "To be made; nothing is overwritten")
      ->required();
  command->add_flag("--json", arguments->json, "One JSON object");
  command->footer("Example: sluice export-hf runs/bert_vga exported/bert_vga");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunExport(*arguments, communicator);
    };
  });
}

}  // namespace sluice
