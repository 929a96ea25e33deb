#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "tools/calibration.h"
#include "tools/commands.h"
#include "tools/evaluation_data.h"
#include "tools/quantization_report.h"
#include "tools/quantize_arguments.h"
#include "train/compute_threads.h"
#include "train/load_model.h"
#include "train/resume.h"

namespace sluice {
namespace {

// The worst `count` of all tensors, summed over ranks. Weights are the same on all of them, which
// leaves their ratio as it is.
absl::StatusOr<std::vector<QuantizationError>> WorstOf(const PostTrainingQuantization& quantized,
                                                       int64_t count, Communicator& communicator) {
  std::vector<QuantizationError> errors = quantized.activation_errors();
  std::vector<double> powers;
  for (const QuantizationError& error : errors) {
    powers.insert(powers.end(), {error.signal, error.noise});
  }
  RETURN_IF_ERROR(communicator.AllReduceSum(std::span<double>(powers)));
  for (size_t i = 0; i < errors.size(); ++i) {
    errors[i].signal = powers[2 * i];
    errors[i].noise = powers[2 * i + 1];
  }
  errors.insert(errors.begin(), quantized.weight_errors().begin(), quantized.weight_errors().end());
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
  ASSIGN_OR_RETURN(result.worst, WorstOf(**quantized, arguments.worst, communicator));
  RETURN_IF_ERROR((*quantized)->Remove());
  return result;
}

// Files are replaced as a whole; what a link, a pipe or a device stands for is written to.
bool IsReplaced(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::symlink_status(path, error);
  return !std::filesystem::exists(status) || std::filesystem::is_regular_file(status);
}

// Before the work, so that a path that cannot be written is told at once: what WriteFileAtomically
// will write first can be made. A report of that name stays until there is another.
absl::Status CheckReportPath(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return DeviceError("cannot write the report", path, "is a folder");
  }
  if (!IsReplaced(path)) return absl::OkStatus();
  const std::string partial = path + kPartialFileEnding;
  const bool made = std::ofstream(partial).is_open();
  if (!made) return DeviceError("cannot write the report", path);
  std::filesystem::remove(partial, error);
  return absl::OkStatus();
}

// One object; a list where there are several data sets.
absl::Status WriteReports(const std::string& path, const std::vector<QuantizationReport>& reports) {
  if (path.empty()) return absl::OkStatus();
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const QuantizationReport& report : reports) all.push_back(QuantizationReportToJson(report));
  const std::string text = JsonText(all.size() == 1 ? all.front() : all, 2) + "\n";
  if (IsReplaced(path)) return WriteFileAtomically(path, text);
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? absl::OkStatus() : DeviceError("cannot write the report", path);
}

absl::StatusOr<LoadedModel> LoadInFp32(const QuantizeArguments& arguments) {
  return LoadModel(arguments.path, {.max_batch = LargestBatch(arguments),
                                    .precision = "fp32",
                                    .data_overrides = arguments.data_overrides});
}

// On one data set. The model is, at the end, as it was; smoothed, where that is asked for.
absl::StatusOr<QuantizationReport> QuantizeOn(BatchSource& source,
                                              const QuantizeArguments& arguments,
                                              const std::vector<BitWidths>& widths,
                                              LoadedModel& model, Communicator& communicator) {
  QuantizationReport report{.checkpoint = model.folder,
                            .data = source.name(),
                            .calibration_data = {},
                            .step = model.state.step,
                            .sequence_length = model.config.data.sequence_length,
                            .pre_norm = IsPreNorm(*model.engine),
                            .smooth = arguments.smooth};
  QuantizationPreset preset = ResolvePreset(arguments, report.pre_norm);
  report.options = preset.options;
  const absl::StatusOr<Calibration> calibration = ReadCalibration(arguments, preset, model, source);
  RETURN_IF_ERROR(communicator.Agree(calibration.status()));
  report.calibration_data = calibration->data;
  report.calibration_sequences = calibration->sequences();
  report.calibration_seed = calibration->seed;
  ASSIGN_OR_RETURN(report.before,
                   EvaluateWithOutliers(*model.engine, source, communicator, arguments.evaluation));
  if (arguments.smooth > 0) {
    RETURN_IF_ERROR(
        communicator.Agree(SmoothModel(*model.engine, calibration->batches, arguments.smooth)));
  }
  for (const BitWidths& bits : widths) {
    preset.options.weights.bits = bits.weights;
    preset.options.activations.bits = bits.activations;
    ASSIGN_OR_RETURN(
        report.quantized.emplace_back(),
        EvaluateQuantized(arguments, preset.options, model, source, *calibration, communicator));
  }
  return report;
}

void Print(const QuantizationReport& report, bool json) {
  std::printf("%s", json ? (JsonText(QuantizationReportToJson(report)) + "\n").c_str()
                         : FormatQuantizationReport(report).c_str());
}

absl::Status RunQuantize(const QuantizeArguments& arguments, Communicator& communicator) {
  ASSIGN_OR_RETURN(const std::vector<BitWidths> widths, ResolveBitWidths(arguments));
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  absl::StatusOr<LoadedModel> model = LoadInFp32(arguments);
  RETURN_IF_ERROR(communicator.Agree(model.status()));
  const auto sources = OpenEvaluationData(*model, arguments.data);
  RETURN_IF_ERROR(communicator.Agree(sources.status()));
  RETURN_IF_ERROR(communicator.Agree(communicator.rank() == 0 ? CheckReportPath(arguments.out)
                                                              : absl::OkStatus()));
  std::vector<QuantizationReport> reports;
  for (const std::unique_ptr<BatchSource>& source : *sources) {
    if (!reports.empty() && arguments.smooth > 0) {
      RETURN_IF_ERROR(communicator.Agree(LoadWeights(model->folder, *model->engine)));
    }
    ASSIGN_OR_RETURN(reports.emplace_back(),
                     QuantizeOn(*source, arguments, widths, *model, communicator));
    if (communicator.rank() != 0) continue;
    if (reports.size() > 1 && !arguments.json) std::printf("\n");
    Print(reports.back(), arguments.json);
  }
  return communicator.Agree(communicator.rank() == 0 ? WriteReports(arguments.out, reports)
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
