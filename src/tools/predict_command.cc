#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/parallel.h"
#include "core/status.h"
#include "nlohmann/json.hpp"
#include "tools/checkpoint_tokenizer.h"
#include "tools/commands.h"
#include "tools/text_prediction.h"
#include "train/compute_threads.h"

namespace sluice {
namespace {

struct PredictArguments {
  std::string checkpoint, text, device = "cpu";
  int64_t top = 5;
  ContinuationOptions continuation;
  bool json = false;
  // Those that only one kind of model reads, to see whether they were given.
  std::vector<const CLI::Option*> masked_only, causal_only, drawing_only;
};

nlohmann::ordered_json Describe(const Tokenizer& tokenizer, const TokenProbability& token) {
  return {{"token", std::string(tokenizer.TokenText(token.id))},
          {"id", token.id},
          {"probability", token.probability}};
}

void Print(const Tokenizer& tokenizer, const MaskCandidates& mask, bool json) {
  if (json) {
    nlohmann::ordered_json report = {{"position", mask.position}};
    for (const TokenProbability& candidate : mask.candidates) {
      report["candidates"].push_back(Describe(tokenizer, candidate));
    }
    std::printf("%s\n", JsonText(report).c_str());
    return;
  }
  std::printf("[MASK] at token %d:\n", mask.position);
  for (const TokenProbability& candidate : mask.candidates) {
    std::printf("  %6.2f %%  %s\n", 100 * candidate.probability,
                std::string(tokenizer.TokenText(candidate.id)).c_str());
  }
}

void Print(const Tokenizer& tokenizer, const std::string& text, const Continuation& continuation,
           bool json) {
  if (!json) {
    std::printf("%s%s\n", text.c_str(), continuation.text.c_str());
    return;
  }
  nlohmann::ordered_json report = {{"prompt", continuation.prompt},
                                   {"continuation", continuation.text},
                                   {"stopped", continuation.stopped},
                                   {"tokens", nlohmann::ordered_json::array()}};
  for (const TokenProbability& token : continuation.tokens) {
    report["tokens"].push_back(Describe(tokenizer, token));
  }
  std::printf("%s\n", JsonText(report).c_str());
}

absl::Status RefuseGiven(const std::vector<const CLI::Option*>& options, const std::string& why) {
  for (const CLI::Option* option : options) {
    if (option->count() > 0) return UsageError(why, option->get_name());
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const PredictArguments& arguments, bool masked) {
  if (masked) return RefuseGiven(arguments.causal_only, "only a causal model reads this option");
  RETURN_IF_ERROR(RefuseGiven(arguments.masked_only, "only a masked model reads this option"));
  const double temperature = arguments.continuation.temperature;
  if (!std::isfinite(temperature) || temperature < 0) {
    return UsageError("--temperature must be 0 or more", "", absl::StrCat(temperature));
  }
  if (temperature > 0) return absl::OkStatus();
  return RefuseGiven(arguments.drawing_only,
                     "without --temperature above 0 nothing is drawn, and this option not read");
}

absl::Status RunPredict(const PredictArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1)
    return UsageError("predict runs on one rank: start it without mpirun");
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  ASSIGN_OR_RETURN(const std::string folder, ResolveCheckpoint(arguments.checkpoint));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, LoadCheckpointTokenizer(folder));
  ASSIGN_OR_RETURN(LoadedModel model, LoadModel(folder, {.max_batch = 1,
                                                         .length = LoadModelOptions::kLongest,
                                                         .device = arguments.device}));
  const bool masked = ObjectiveOf(model.config.model) == Objective::kMasked;
  RETURN_IF_ERROR(CheckOptions(arguments, masked));
  if (!masked) {
    ASSIGN_OR_RETURN(const Continuation continuation,
                     ContinueText(model, *tokenizer, arguments.text, arguments.continuation));
    Print(*tokenizer, arguments.text, continuation, arguments.json);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<MaskCandidates> masks,
                   FillMasks(model, *tokenizer, arguments.text, arguments.top));
  for (const MaskCandidates& mask : masks) Print(*tokenizer, mask, arguments.json);
  return absl::OkStatus();
}

void AddOptions(CLI::App& command, PredictArguments& arguments) {
  ContinuationOptions& continuation = arguments.continuation;
  arguments.masked_only = {
      command.add_option("--top", arguments.top, "Masked models: candidates for each [MASK]")
          ->check(CLI::PositiveNumber)
          ->capture_default_str()};
  const CLI::Option* tokens =
      command.add_option("--tokens", continuation.tokens, "Causal models: go on by so many tokens")
          ->check(CLI::PositiveNumber)
          ->capture_default_str();
  const CLI::Option* temperature =
      command
          .add_option("--temperature", continuation.temperature,
                      "Causal models: divides the logits before a token is drawn; 0: always the "
                      "most probable")
          ->capture_default_str();
  const CLI::Option* top_k =
      command
          .add_option("--top-k", continuation.top_k,
                      "Causal models: draw from the K most probable tokens only")
          ->check(CLI::PositiveNumber);
  const CLI::Option* seed = command
                                .add_option("--seed", continuation.seed,
                                            "Causal models: the same seed draws the same text")
                                ->capture_default_str();
  arguments.causal_only = {tokens, temperature, top_k, seed};
  arguments.drawing_only = {top_k, seed};
  command.add_option("--device", arguments.device, "Where the model runs: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command.add_flag("--json", arguments.json, "One JSON object for each [MASK] or continuation");
}

}  // namespace

void AddPredictCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "predict", "Fill in the [MASK]s of a text with a trained BERT; go on with it with an OPT.");
  auto arguments = std::make_shared<PredictArguments>();
  command
      ->add_option("checkpoint", arguments->checkpoint,
                   "A checkpoint, or a run folder (its newest)")
      ->required();
  command
      ->add_option("text", arguments->text,
                   "Masked models: text with at least one [MASK]; causal ones: any text")
      ->required();
  AddOptions(*command, *arguments);
  command->footer(
      "Example: sluice predict runs/bert_vga \"The capital of France is [MASK].\"\n"
      "         sluice predict runs/opt_vga \"The capital of France\" --temperature 0.8 --top-k "
      "40\n"
      "The whole text is computed anew for every token: there is no cache of keys and values.");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunPredict(*arguments, communicator);
    };
  });
}

}  // namespace sluice
