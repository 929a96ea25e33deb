#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/batch_source.h"
#include "nlohmann/json.hpp"
#include "tools/commands.h"
#include "train/compute_threads.h"
#include "train/evaluation.h"
#include "train/load_model.h"

namespace sluice {
namespace {

struct EvaluateArguments {
  std::string path, data;
  int64_t batches = 0, batch_size = 32;
  bool json = false;
};

void Print(const EvaluateArguments& arguments, const LoadedModel& model, const std::string& data,
           const EvaluationResult& result) {
  if (arguments.json) {
    const nlohmann::ordered_json report = {{"checkpoint", model.folder},
                                           {"step", model.state.step},
                                           {"data", data},
                                           {"perplexity", result.perplexity},
                                           {"loss", result.loss},
                                           {"accuracy", result.accuracy},
                                           {"sequences", result.sequences},
                                           {"targets", result.targets},
                                           {"batch_size", result.batch_size},
                                           {"seconds", result.seconds}};
    std::printf("%s\n", report.dump().c_str());
    return;
  }
  std::printf(
      "%s step %ld on %s: perplexity %.3f  loss %.4f  accuracy %.4f  (%ld sequences, %ld targets, "
      "%.1f s)\n",
      model.folder.c_str(), static_cast<long>(model.state.step), data.c_str(), result.perplexity,
      result.loss, result.accuracy, static_cast<long>(result.sequences),
      static_cast<long>(result.targets), result.seconds);
}

absl::Status EvaluateOn(const EvaluateArguments& arguments, const std::string& data,
                        LoadedModel& model, Communicator& communicator) {
  absl::StatusOr<std::unique_ptr<BatchSource>> source =
      BatchSource::Open(data, EvaluationSettings(model.config.data));
  absl::Status status = source.status();
  if (status.ok() && (*source)->vocabulary_size() > model.config.model.vocab_size) {
    status = DataError(
        "the data's vocabulary is larger than the model's", data,
        absl::StrFormat("%d > %d", (*source)->vocabulary_size(), model.config.model.vocab_size));
  }
  RETURN_IF_ERROR(communicator.Agree(status));
  ASSIGN_OR_RETURN(
      const EvaluationResult result,
      Evaluate(*model.engine, **source, communicator, arguments.batch_size, arguments.batches));
  if (communicator.rank() == 0) Print(arguments, model, data, result);
  return absl::OkStatus();
}

absl::Status RunEvaluate(const EvaluateArguments& arguments, Communicator& communicator) {
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  absl::StatusOr<LoadedModel> model =
      LoadModel(arguments.path, {.max_batch = arguments.batch_size});
  RETURN_IF_ERROR(communicator.Agree(model.status()));
  if (!arguments.data.empty()) return EvaluateOn(arguments, arguments.data, *model, communicator);
  if (model->config.data.validation.empty()) {
    return UsageError(
        "the run has no data.validation; say what to evaluate on with --data MANIFEST",
        model->folder);
  }
  for (const std::string& data : model->config.data.validation) {
    RETURN_IF_ERROR(EvaluateOn(arguments, data, *model, communicator));
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
  command->add_option("--data", arguments->data,
                      "Manifest or its folder (default: the run's validation data)");
  command->add_option("--batches", arguments->batches, "Evaluate this many batches only; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--batch-size", arguments->batch_size,
                   "Sequences a batch; perplexity weighs batches alike")
      ->check(CLI::PositiveNumber)
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
