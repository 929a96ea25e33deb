#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/diff.h"
#include "checkpoint/inspect.h"
#include "checkpoint/reader.h"
#include "checkpoint/verify.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/status.h"
#include "data/shard_inspection.h"
#include "nlohmann/json.hpp"
#include "telemetry/attention_report.h"
#include "telemetry/gate_report.h"
#include "tools/commands.h"
#include "train/load_model.h"

namespace sluice {
namespace {

struct InspectArguments {
  std::string path, diff;
  bool json = false, verify = false, gates = false;
};

void PrintLine(const std::string& text) {
  std::printf("%s%s", text.c_str(), absl::EndsWith(text, "\n") ? "" : "\n");
}

// A run folder or a checkpoint; anything else is taken for token data.
bool HoldsCheckpoints(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path + "/checkpoints", error) ||
         std::filesystem::exists(path + "/state.yaml", error) ||
         absl::StartsWith(std::filesystem::path(path).filename().string(), "step_");
}

absl::Status InspectData(const InspectArguments& arguments) {
  if (arguments.gates || !arguments.diff.empty()) {
    return UsageError("--gates and --diff are for checkpoints; this is token data", arguments.path);
  }
  if (arguments.verify) {
    ASSIGN_OR_RETURN(const VerificationSummary summary, VerifyShards(arguments.path));
    PrintLine(arguments.json
                  ? nlohmann::ordered_json{{"valid", true},
                                           {"shards", summary.shards},
                                           {"documents", summary.documents},
                                           {"tokens", summary.tokens}}
                        .dump()
                  : absl::StrCat(arguments.path, ": every byte verified: ", summary.shards,
                                 " shards, ", summary.documents, " documents, ", summary.tokens,
                                 " tokens"));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const ShardInspection inspection, InspectShards(arguments.path, {}));
  PrintLine(arguments.json ? JsonText(InspectionJson(inspection), 2) : InspectionText(inspection));
  return absl::OkStatus();
}

absl::Status InspectGates(const std::string& folder, bool json) {
  ASSIGN_OR_RETURN(const GateStatistics gates, ReadCheckpointGates(folder));
  ASSIGN_OR_RETURN(const AttentionStatistics attention, ReadCheckpointAttention(folder));
  if (gates.empty() && attention.empty()) {
    return CheckpointError("no statistics of gates or attention: no step was looked at", folder);
  }
  if (json) {
    PrintLine(GateReportJson(gates, attention));
    return absl::OkStatus();
  }
  const std::string between = attention.empty() ? "" : "\n";
  PrintLine(absl::StrCat(GateReportText(gates), between, AttentionReportText(attention)));
  return absl::OkStatus();
}

absl::Status InspectOneCheckpoint(const InspectArguments& arguments) {
  ASSIGN_OR_RETURN(const std::string folder, ResolveCheckpoint(arguments.path));
  if (!arguments.diff.empty()) {
    ASSIGN_OR_RETURN(const std::string other, ResolveCheckpoint(arguments.diff));
    ASSIGN_OR_RETURN(const CheckpointDiff diff, DiffCheckpoints(folder, other));
    PrintLine(arguments.json ? DiffJson(diff) : DiffText(diff));
    return absl::OkStatus();
  }
  if (arguments.verify) {
    RETURN_IF_ERROR(VerifyCheckpoint(folder));
    PrintLine(arguments.json
                  ? JsonText(nlohmann::ordered_json{{"valid", true}, {"checkpoint", folder}})
                  : absl::StrCat(folder, ": every byte verified"));
    return absl::OkStatus();
  }
  if (arguments.gates) return InspectGates(folder, arguments.json);
  ASSIGN_OR_RETURN(const CheckpointSummary summary, InspectCheckpoint(folder));
  PrintLine(arguments.json ? InspectJson(summary) : InspectText(summary));
  return absl::OkStatus();
}

absl::Status RunInspect(const InspectArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1)
    return UsageError("inspect runs on one rank: start it without mpirun");
  std::error_code error;
  if (!std::filesystem::exists(arguments.path, error)) {
    return UsageError("no such run, checkpoint, shard or manifest", arguments.path);
  }
  return HoldsCheckpoints(arguments.path) ? InspectOneCheckpoint(arguments)
                                          : InspectData(arguments);
}

}  // namespace

void AddInspectCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command =
      program.add_subcommand("inspect", "Look into a run, a checkpoint, a shard or a manifest.");
  auto arguments = std::make_shared<InspectArguments>();
  command
      ->add_option("path", arguments->path,
                   "Run folder (its newest checkpoint), checkpoint, shard, manifest or its folder")
      ->required();
  command->add_flag("--json", arguments->json, "As JSON");
  CLI::Option* verify =
      command->add_flag("--verify", arguments->verify, "Read every byte and compare checksums");
  CLI::Option* gates =
      command->add_flag("--gates", arguments->gates, "What each head's gate and attention did");
  CLI::Option* diff = command->add_option("--diff", arguments->diff,
                                          "Compare with this checkpoint, tensor by tensor");
  verify->excludes(gates)->excludes(diff);
  gates->excludes(diff);
  command->footer("Example: sluice inspect runs/bert_vga --gates");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunInspect(*arguments, communicator);
    };
  });
}

}  // namespace sluice
