#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/parallel.h"
#include "core/status.h"
#include "nlohmann/json.hpp"
#include "telemetry/outlier_report.h"
#include "tools/calibration.h"
#include "tools/commands.h"
#include "tools/evaluation_data.h"
#include "tools/integer_report.h"
#include "tools/quantize_arguments.h"
#include "train/bigram_backcopy_evaluation.h"
#include "train/compute_threads.h"
#include "train/load_model.h"
#include "train/outlier_evaluation.h"
#include "train/resume.h"

namespace sluice {
namespace {

struct EvaluateArguments {
  std::string path, data, device = "cpu", precision;
  std::vector<std::string> data_overrides;
  OutlierEvaluationOptions evaluation;
  bool json = false, no_outliers = false, int8 = false;
  QuantizeArguments quantization;  // with int8: ranges and their calibration
};

using NamedValuesOfSinks = std::vector<std::pair<std::string, double>>;

void PrintJson(const LoadedModel& model, const std::string& data, const OutlierEvaluation& done,
               const NamedValuesOfSinks& sinks) {
  const EvaluationResult& result = done.result;
  nlohmann::ordered_json report = {{"checkpoint", model.folder},
                                   {"precision", DTypeName(model.engine->options().dtype)},
                                   {"step", model.state.step},
                                   {"data", data},
                                   {"sequence_length", model.config.data.sequence_length},
                                   {"perplexity", result.perplexity},
                                   {"loss", result.loss},
                                   {"accuracy", result.accuracy},
                                   {"sequences", result.sequences},
                                   {"targets", result.targets},
                                   {"batch_size", result.batch_size},
                                   {"seconds", result.seconds}};
  if (!done.outliers.empty()) {
    report["outliers"] = OutliersToJson(done.outliers, IsPreNorm(*model.engine));
  }
  for (const auto& [name, value] : sinks) report["bigram_backcopy"][name] = value;
  std::printf("%s\n", JsonText(report).c_str());
}

void Print(const LoadedModel& model, const std::string& data, const OutlierEvaluation& done,
           const NamedValuesOfSinks& sinks) {
  const EvaluationResult& result = done.result;
  std::printf(
      "%s step %ld on %s: perplexity %.3f  loss %.4f  accuracy %.4f  (%ld sequences of %ld tokens, "
      "%ld targets, %.1f s)\n",
      model.folder.c_str(), static_cast<long>(model.state.step), data.c_str(), result.perplexity,
      result.loss, result.accuracy, static_cast<long>(result.sequences),
      static_cast<long>(model.config.data.sequence_length), static_cast<long>(result.targets),
      result.seconds);
  for (const auto& [name, value] : sinks) std::printf("  %-44s %.6g\n", name.c_str(), value);
  if (done.outliers.empty()) return;
  std::printf("%s", FormatOutliers(done.outliers, IsPreNorm(*model.engine)).c_str());
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
                                          {.batch_size = arguments.evaluation.batch_size}));
  return NamedValues(metrics);
}

absl::StatusOr<OutlierEvaluation> EvaluateOn(BatchSource& source,
                                             const EvaluateArguments& arguments,
                                             const LoadedModel& model, Communicator& communicator) {
  if (!arguments.no_outliers) {
    return EvaluateWithOutliers(*model.engine, source, communicator, arguments.evaluation);
  }
  OutlierEvaluation done;
  ASSIGN_OR_RETURN(done.result,
                   Evaluate(*model.engine, source, communicator, arguments.evaluation.batch_size,
                            arguments.evaluation.batches));
  return done;
}

absl::Status EvaluateInt8On(BatchSource& source, const EvaluateArguments& arguments,
                            LoadedModel& model, Communicator& communicator) {
  const QuantizationPreset preset = ResolvePreset(arguments.quantization, IsPreNorm(*model.engine));
  const absl::StatusOr<Calibration> calibration =
      ReadCalibration(arguments.quantization, preset, model, source);
  RETURN_IF_ERROR(communicator.Agree(calibration.status()));
  IntegerReport report = {
      .checkpoint = model.folder,
      .data = source.name(),
      .calibration_data = calibration->data,
      .step = model.state.step,
      .sequence_length = model.config.data.sequence_length,
      .calibration_sequences = calibration->sequences(),
      .calibration_seed = calibration->seed,
      .gate_behind_context = QuantizesContextBeforeGate(preset.options, IsPreNorm(*model.engine)),
      .sixteen_bit_norms = preset.options.activations.sixteen_bit_norms};
  ASSIGN_OR_RETURN(report.evaluation,
                   EvaluateInIntegers(*model.engine, source, communicator,
                                      {.calibration = calibration->batches,
                                       .options = preset.options,
                                       .smooth = arguments.quantization.smooth,
                                       .batch_size = arguments.evaluation.batch_size,
                                       .batches = arguments.evaluation.batches}));
  if (communicator.rank() != 0) return absl::OkStatus();
  std::printf("%s", arguments.json ? (JsonText(IntegerReportToJson(report)) + "\n").c_str()
                                   : FormatIntegerReport(report).c_str());
  return absl::OkStatus();
}

absl::Status RunInt8(const EvaluateArguments& arguments, Communicator& communicator) {
  if (arguments.device == "cuda") {
    return UsageError("integer products run on the CPU", "--int8 with --device", "cuda");
  }
  RETURN_IF_ERROR(CheckRanges(arguments.quantization));
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  const int64_t max_batch =
      std::max(arguments.evaluation.batch_size, LargestBatch(arguments.quantization));
  absl::StatusOr<LoadedModel> model = LoadModel(
      arguments.path,
      {.max_batch = max_batch, .precision = "fp32", .data_overrides = arguments.data_overrides});
  RETURN_IF_ERROR(communicator.Agree(model.status()));
  const auto sources = OpenEvaluationData(*model, arguments.data);
  RETURN_IF_ERROR(communicator.Agree(sources.status()));
  for (const std::unique_ptr<BatchSource>& source : *sources) {
    if (source != sources->front()) {
      if (arguments.quantization.smooth > 0) {
        RETURN_IF_ERROR(communicator.Agree(LoadWeights(model->folder, *model->engine)));
      }
      if (!arguments.json && communicator.rank() == 0) std::printf("\n");
    }
    RETURN_IF_ERROR(EvaluateInt8On(*source, arguments, *model, communicator));
  }
  return absl::OkStatus();
}

absl::Status RunEvaluate(const EvaluateArguments& arguments, Communicator& communicator) {
  if (arguments.int8) return RunInt8(arguments, communicator);
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  absl::StatusOr<LoadedModel> model =
      LoadModel(arguments.path, {.max_batch = arguments.evaluation.batch_size,
                                 .precision = arguments.precision,
                                 .device = arguments.device,
                                 .local_rank = communicator.local_rank(),
                                 .data_overrides = arguments.data_overrides});
  RETURN_IF_ERROR(communicator.Agree(model.status()));
  const auto sources = OpenEvaluationData(*model, arguments.data);
  RETURN_IF_ERROR(communicator.Agree(sources.status()));
  for (const std::unique_ptr<BatchSource>& source : *sources) {
    ASSIGN_OR_RETURN(const OutlierEvaluation done,
                     EvaluateOn(*source, arguments, *model, communicator));
    ASSIGN_OR_RETURN(const NamedValuesOfSinks sinks,
                     MeasureSinks(arguments, *model, *source, communicator));
    if (communicator.rank() != 0) continue;
    arguments.json ? PrintJson(*model, source->name(), done, sinks)
                   : Print(*model, source->name(), done, sinks);
  }
  return absl::OkStatus();
}

void AddInt8Options(CLI::App& command, EvaluateArguments& arguments) {
  CLI::Option* int8 = command.add_flag(
      "--int8", arguments.int8,
      "8-bit integer products in the linear layers, beside fp32 and simulated W8A8 quantization");
  for (const char* other : {"--precision", "--kurtosis-batches", "--no-outliers"}) {
    int8->excludes(command.get_option(other));
  }
  CLI::Option_group* ranges = command.add_option_group("Ranges of --int8");
  AddRangeOptions(*ranges, arguments.quantization);
  AddCalibrationOptions(*ranges, arguments.quantization);
  for (CLI::Option* option : ranges->get_options()) option->needs(int8);
}

void AddOutlierOptions(CLI::App& command, EvaluateArguments& arguments) {
  CLI::Option* kurtosis =
      command
          .add_option("--kurtosis-batches", arguments.evaluation.kurtosis_batches,
                      "Batches that kurtosis looks at; 0: all (default: as many as hold the "
                      "papers' sequences, 8224 of BERT, 404 of OPT)")
          ->check(CLI::NonNegativeNumber);
  command
      .add_flag("--no-outliers", arguments.no_outliers,
                "Leave out inf norms and kurtosis of the activations")
      ->excludes(kurtosis);
}

}  // namespace

void AddEvaluateCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "evaluate", "Loss, perplexity and outliers of a checkpoint on held-out data.");
  auto arguments = std::make_shared<EvaluateArguments>();
  command
      ->add_option("path", arguments->path, "A run folder (its newest checkpoint) or a checkpoint")
      ->required();
  AddDataOverrides(*command, arguments->data_overrides);
  command->add_option(
      "--data", arguments->data,
      "Data of the kind that the run was trained on (default: its validation data)");
  command
      ->add_option("--batches", arguments->evaluation.batches,
                   "Evaluate this many batches only; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--batch-size", arguments->evaluation.batch_size,
                   "Sequences a batch; perplexity weighs batches by them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--precision", arguments->precision, "fp32 or bf16 (default: as it was trained)")
      ->check(CLI::IsMember({"fp32", "bf16"}));
  AddOutlierOptions(*command, *arguments);
  command->add_option("--device", arguments->device, "Where the model runs: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object for each data set");
  AddInt8Options(*command, *arguments);
  command->footer("Example: mpirun -np 2 sluice evaluate runs/bert_vga --data data/validation");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunEvaluate(*arguments, communicator);
    };
  });
}

}  // namespace sluice
