#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "tools/commands.h"
#include "tools/evaluation_data.h"
#include "tools/quantization_report.h"
#include "tools/quantize_arguments.h"
#include "train/compute_threads.h"
#include "train/load_model.h"
#include "train/resume.h"

namespace sluice {
namespace {

struct Calibration {
  std::string data;
  std::vector<Batch> batches;

  int64_t sequences() const {
    int64_t all = 0;
    for (const Batch& batch : batches) all += batch.B;
    return all;
  }
};

absl::StatusOr<Calibration> ReadCalibration(const QuantizeArguments& arguments,
                                            const QuantizationPreset& preset,
                                            const LoadedModel& model, BatchSource& evaluated) {
  std::unique_ptr<BatchSource> own;
  if (!arguments.calibration_data.empty()) {
    ASSIGN_OR_RETURN(own, OpenEvaluationSource(model.config, arguments.calibration_data));
  } else if (preset.calibrates_on_training_data) {
    absl::StatusOr<std::unique_ptr<BatchSource>> training = OpenTrainingSource(model.config);
    if (!training.ok()) {
      return Annotate(training.status(),
                      "ranges are taken from the training data; --calibration-data names other");
    }
    own = *std::move(training);
  }
  BatchSource& source = own == nullptr ? evaluated : *own;
  RETURN_IF_ERROR(CheckSameVocabulary(model.folder, source.tokenizer()));
  ASSIGN_OR_RETURN(std::vector<Batch> batches,
                   ReadBatches(source, preset.calibration_batches, preset.calibration_batch_size));
  if (batches.empty()) return DataError("no sequence to calibrate on", source.name());
  return Calibration{source.name(), std::move(batches)};
}

// The worst `count` of all tensors, summed over ranks. Weights are the same on all of them, which
// leaves their ratio as it is.
absl::StatusOr<std::vector<QuantizationError>> WorstOf(std::vector<QuantizationError> errors,
                                                       int64_t count, Communicator& communicator) {
  std::vector<double> powers;
  for (const QuantizationError& error : errors) {
    powers.insert(powers.end(), {error.signal, error.noise});
  }
  RETURN_IF_ERROR(communicator.AllReduceSum(std::span<double>(powers)));
  for (size_t i = 0; i < errors.size(); ++i) {
    errors[i].signal = powers[2 * i];
    errors[i].noise = powers[2 * i + 1];
  }
  std::stable_sort(errors.begin(), errors.end(),
                   [](const QuantizationError& a, const QuantizationError& b) {
                     return a.SqnrDecibels() < b.SqnrDecibels();
                   });
  errors.resize(std::min<size_t>(errors.size(), count));
  return errors;
}

absl::StatusOr<QuantizedResult> EvaluateQuantized(const QuantizeArguments& arguments,
                                                  const PostTrainingQuantizationOptions& options,
                                                  LoadedModel& model, BatchSource& source,
                                                  const Calibration& calibration,
                                                  Communicator& communicator) {
  absl::StatusOr<std::unique_ptr<PostTrainingQuantization>> quantized =
      PostTrainingQuantization::Apply(*model.engine, calibration.batches, options);
  RETURN_IF_ERROR(communicator.Agree(quantized.status()));
  OutlierEvaluationOptions evaluation = arguments.evaluation;
  evaluation.changes = &(*quantized)->activations();
  QuantizedResult result{
      .bits = {options.weights.bits, options.activations.bits}, .evaluation = {}, .worst = {}};
  ASSIGN_OR_RETURN(result.evaluation,
                   EvaluateWithOutliers(*model.engine, source, communicator, evaluation));
  ASSIGN_OR_RETURN(result.worst, WorstOf((*quantized)->errors(), arguments.worst, communicator));
  RETURN_IF_ERROR((*quantized)->Remove());
  return result;
}

// Where the report goes: opened before the work, so that a path that cannot be is told at once.
absl::Status OpenReport(const std::string& path, std::ofstream& file) {
  if (path.empty()) return absl::OkStatus();
  file.open(path);
  return file ? absl::OkStatus() : DeviceError("cannot write the report", path);
}

absl::Status Finish(const QuantizeArguments& arguments, const QuantizationReport& report,
                    std::ofstream& file) {
  const nlohmann::ordered_json json = QuantizationReportToJson(report);
  std::printf("%s", arguments.json ? (json.dump() + "\n").c_str()
                                   : FormatQuantizationReport(report).c_str());
  if (!file.is_open()) return absl::OkStatus();
  file << json.dump(2) << '\n';
  file.close();
  return file ? absl::OkStatus() : DeviceError("cannot write the report", arguments.out);
}

absl::StatusOr<LoadedModel> LoadInFp32(const QuantizeArguments& arguments) {
  // The preset's batch size is not known before the model is.
  const int64_t calibration =
      std::max({arguments.calibration_batch_size, BertPreset().calibration_batch_size,
                OptPreset().calibration_batch_size});
  return LoadModel(
      arguments.path,
      {.max_batch = std::max(arguments.evaluation.batch_size, calibration), .precision = "fp32"});
}

absl::Status RunQuantize(const QuantizeArguments& arguments, Communicator& communicator) {
  ASSIGN_OR_RETURN(const std::vector<BitWidths> widths, ResolveBitWidths(arguments));
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  absl::StatusOr<LoadedModel> model = LoadInFp32(arguments);
  RETURN_IF_ERROR(communicator.Agree(model.status()));
  const auto sources = OpenEvaluationData(*model, arguments.data);
  RETURN_IF_ERROR(communicator.Agree(sources.status()));
  BatchSource& source = *sources->front();
  QuantizationReport report{.checkpoint = model->folder,
                            .data = source.name(),
                            .calibration_data = {},
                            .step = model->state.step,
                            .pre_norm = IsPreNorm(*model->engine),
                            .smooth = arguments.smooth};
  QuantizationPreset preset = ResolvePreset(arguments, report.pre_norm);
  report.options = preset.options;
  const absl::StatusOr<Calibration> calibration =
      ReadCalibration(arguments, preset, *model, source);
  RETURN_IF_ERROR(communicator.Agree(calibration.status()));
  report.calibration_data = calibration->data;
  report.calibration_sequences = calibration->sequences();
  std::ofstream file;
  RETURN_IF_ERROR(communicator.Agree(communicator.rank() == 0 ? OpenReport(arguments.out, file)
                                                              : absl::OkStatus()));
  ASSIGN_OR_RETURN(report.before, EvaluateWithOutliers(*model->engine, source, communicator,
                                                       arguments.evaluation));
  if (arguments.smooth > 0) {
    RETURN_IF_ERROR(
        communicator.Agree(SmoothModel(*model->engine, calibration->batches, arguments.smooth)));
  }
  for (const BitWidths& bits : widths) {
    preset.options.weights.bits = bits.weights;
    preset.options.activations.bits = bits.activations;
    ASSIGN_OR_RETURN(
        report.quantized.emplace_back(),
        EvaluateQuantized(arguments, preset.options, *model, source, *calibration, communicator));
  }
  return communicator.Agree(communicator.rank() == 0 ? Finish(arguments, report, file)
                                                     : absl::OkStatus());
}

}  // namespace

void AddQuantizeCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "quantize",
      "Perplexity and outliers of a checkpoint with simulated low-bit weights and activations.");
  auto arguments = std::make_shared<QuantizeArguments>();
  AddQuantizeOptions(*command, *arguments);
  command->footer(
      "Example: sluice quantize runs/bert_vga --sweep W8A8,W6A8,W4A8 --weight-ranges mse");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunQuantize(*arguments, communicator);
    };
  });
}

}  // namespace sluice
