#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "nlohmann/json.hpp"
#include "tools/commands.h"
#include "train/bigram_backcopy_evaluation.h"
#include "train/compute_threads.h"
#include "train/evaluation.h"
#include "train/load_model.h"
#include "train/resume.h"

namespace sluice {
namespace {

struct EvaluateArguments {
  std::string path, data, device = "cpu";
  int64_t batches = 0, batch_size = 32;
  bool json = false;
};

using NamedValuesOfSinks = std::vector<std::pair<std::string, double>>;

void Print(const EvaluateArguments& arguments, const LoadedModel& model, const std::string& data,
           const EvaluationResult& result, const NamedValuesOfSinks& sinks) {
  if (arguments.json) {
    nlohmann::ordered_json report = {{"checkpoint", model.folder},
                                     {"step", model.state.step},
                                     {"data", data},
                                     {"perplexity", result.perplexity},
                                     {"loss", result.loss},
                                     {"accuracy", result.accuracy},
                                     {"sequences", result.sequences},
                                     {"targets", result.targets},
                                     {"batch_size", result.batch_size},
                                     {"seconds", result.seconds}};
    for (const auto& [name, value] : sinks) report["bigram_backcopy"][name] = value;
    std::printf("%s\n", report.dump().c_str());
    return;
  }
  std::printf(
      "%s step %ld on %s: perplexity %.3f  loss %.4f  accuracy %.4f  (%ld sequences, %ld targets, "
      "%.1f s)\n",
      model.folder.c_str(), static_cast<long>(model.state.step), data.c_str(), result.perplexity,
      result.loss, result.accuracy, static_cast<long>(result.sequences),
      static_cast<long>(result.targets), result.seconds);
  for (const auto& [name, value] : sinks) std::printf("  %-44s %.6g\n", name.c_str(), value);
}

// The metrics of docs/bigram_backcopy.md, where the data and the model are that task's; all
// sequences, whatever --batches says.
absl::StatusOr<NamedValuesOfSinks> MeasureSinks(const EvaluateArguments& arguments,
                                                LoadedModel& model, BatchSource& data,
                                                Communicator& communicator) {
  auto* source = dynamic_cast<BigramBackcopySource*>(&data);
  if (source == nullptr || model.config.model.architecture != "bigram_backcopy") {
    return NamedValuesOfSinks();
  }
  ASSIGN_OR_RETURN(const BigramBackcopyMetrics metrics,
                   EvaluateBigramBackcopy(*model.engine, *source, communicator,
                                          {.batch_size = arguments.batch_size}));
  return NamedValues(metrics);
}

using Sources = std::vector<std::unique_ptr<BatchSource>>;

// What --data names, else the run's own validation data.
absl::StatusOr<Sources> OpenSources(const EvaluateArguments& arguments, const LoadedModel& model) {
  Sources sources;
  if (arguments.data.empty()) {
    ASSIGN_OR_RETURN(sources, OpenValidationSources(model.config));
    if (sources.empty()) {
      return UsageError("the run has no validation data; say what to evaluate on with --data",
                        model.folder);
    }
  } else {
    ASSIGN_OR_RETURN(std::unique_ptr<BatchSource> source,
                     OpenEvaluationSource(model.config, arguments.data));
    sources.push_back(std::move(source));
  }
  for (const std::unique_ptr<BatchSource>& source : sources) {
    RETURN_IF_ERROR(CheckSameVocabulary(model.folder, source->tokenizer()));
    if (source->vocabulary_size() <= model.config.model.vocab_size) continue;
    return DataError(
        "the data's vocabulary is larger than the model's", source->name(),
        absl::StrFormat("%d > %d", source->vocabulary_size(), model.config.model.vocab_size));
  }
  return sources;
}

absl::Status RunEvaluate(const EvaluateArguments& arguments, Communicator& communicator) {
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  absl::StatusOr<LoadedModel> model =
      LoadModel(arguments.path, {.max_batch = arguments.batch_size,
                                 .device = arguments.device,
                                 .local_rank = communicator.local_rank()});
  RETURN_IF_ERROR(communicator.Agree(model.status()));
  const absl::StatusOr<Sources> sources = OpenSources(arguments, *model);
  RETURN_IF_ERROR(communicator.Agree(sources.status()));
  for (const std::unique_ptr<BatchSource>& source : *sources) {
    ASSIGN_OR_RETURN(
        const EvaluationResult result,
        Evaluate(*model->engine, *source, communicator, arguments.batch_size, arguments.batches));
    ASSIGN_OR_RETURN(const NamedValuesOfSinks sinks,
                     MeasureSinks(arguments, *model, *source, communicator));
    if (communicator.rank() == 0) Print(arguments, *model, source->name(), result, sinks);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvaluateCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command =
      program.add_subcommand("evaluate", "Loss and perplexity of a checkpoint on held-out data.");
  auto arguments = std::make_shared<EvaluateArguments>();
  command
      ->add_option("path", arguments->path, "A run folder (its newest checkpoint) or a checkpoint")
      ->required();
  command->add_option(
      "--data", arguments->data,
      "Data of the kind that the run was trained on (default: its validation data)");
  command->add_option("--batches", arguments->batches, "Evaluate this many batches only; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--batch-size", arguments->batch_size,
                   "Sequences a batch; perplexity weighs batches alike")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--device", arguments->device, "Where the model runs: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object for each data set");
  command->footer("Example: mpirun -np 2 sluice evaluate runs/bert_vga --data data/validation");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunEvaluate(*arguments, communicator);
    };
  });
}

}  // namespace sluice
