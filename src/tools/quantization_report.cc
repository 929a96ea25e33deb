#include "tools/quantization_report.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "telemetry/outlier_report.h"

namespace sluice {
namespace {

std::string NameOf(const BitWidths& bits) {
  return absl::StrCat("W", bits.weights, "A", bits.activations);
}

std::string NameOf(const QuantizationError& error) {
  return error.layer < 0 ? error.tensor : absl::StrCat("layer ", error.layer, " ", error.tensor);
}

const char* NameOf(WeightRanges ranges) {
  return ranges == WeightRanges::kMinMax ? "minmax" : "mse";
}

// The metrics of before and after side by side.
void AppendMetrics(const QuantizationReport& report, const QuantizedResult& result,
                   std::string& text) {
  const auto before = NamedOutlierMetrics(report.before.outliers, report.pre_norm);
  const auto after = NamedOutlierMetrics(result.evaluation.outliers, report.pre_norm);
  for (size_t i = 0; i < after.size(); ++i) {
    absl::StrAppendFormat(&text, "  %12.3f  %12.3f  %s  (%s)\n", before[i].value, after[i].value,
                          after[i].known_as, after[i].name);
  }
}

nlohmann::ordered_json EvaluationToJson(const OutlierEvaluation& evaluation, bool pre_norm) {
  return {{"perplexity", evaluation.result.perplexity},
          {"loss", evaluation.result.loss},
          {"accuracy", evaluation.result.accuracy},
          {"outliers", OutliersToJson(evaluation.outliers, pre_norm)}};
}

nlohmann::ordered_json ErrorToJson(const QuantizationError& error) {
  nlohmann::ordered_json json = {{"layer", error.layer},
                                 {"tensor", error.tensor},
                                 {"signal", error.signal},
                                 {"noise", error.noise},
                                 {"scale", error.scale}};
  // JSON has no infinity: nothing was lost.
  json["sqnr_db"] = std::isfinite(error.SqnrDecibels())
                        ? nlohmann::ordered_json(error.SqnrDecibels())
                        : nlohmann::ordered_json(nullptr);
  return json;
}

}  // namespace

nlohmann::ordered_json CalibrationToJson(const std::string& data, int64_t sequences,
                                         std::optional<uint64_t> seed) {
  nlohmann::ordered_json json = {{"data", data}, {"sequences", sequences}, {"seed", nullptr}};
  if (seed.has_value()) json["seed"] = *seed;
  return json;
}

std::string FormatQuantizationReport(const QuantizationReport& report) {
  std::string text = absl::StrFormat("%s step %d on %s (%d sequences of %d tokens)\n",
                                     report.checkpoint, report.step, report.data,
                                     report.before.result.sequences, report.sequence_length);
  absl::StrAppendFormat(&text, "calibrated on %d sequences of %s%s\n", report.calibration_sequences,
                        report.calibration_data,
                        report.smooth > 0 ? absl::StrCat(", smoothed with ", report.smooth) : "");
  if (report.options.activations.sixteen_bit_norms != SixteenBitNorms::kNone) {
    absl::StrAppend(&text, "LayerNorms with 16 bits: ",
                    NameOf(report.options.activations.sixteen_bit_norms), "\n");
  }
  absl::StrAppendFormat(&text, "fp32      perplexity %.3f  loss %.4f\n",
                        report.before.result.perplexity, report.before.result.loss);
  for (const QuantizedResult& result : report.quantized) {
    const EvaluationResult& after = result.evaluation.result;
    absl::StrAppendFormat(&text, "%-8s  perplexity %.3f  loss %.4f  (%+.4f)\n", NameOf(result.bits),
                          after.perplexity, after.loss, after.loss - report.before.result.loss);
  }
  for (const QuantizedResult& result : report.quantized) {
    absl::StrAppendFormat(&text, "\n%s     fp32, quantized\n", NameOf(result.bits));
    AppendMetrics(report, result, text);
    if (result.worst.empty()) continue;
    text += "  least signal over noise:\n";
    for (const QuantizationError& error : result.worst) {
      absl::StrAppendFormat(&text, "  %9.1f dB  %s\n", error.SqnrDecibels(), NameOf(error));
    }
  }
  return text;
}

nlohmann::ordered_json QuantizationReportToJson(const QuantizationReport& report) {
  const FakeQuantizerOptions& activations = report.options.activations;
  nlohmann::ordered_json quantized = nlohmann::ordered_json::array();
  for (const QuantizedResult& result : report.quantized) {
    nlohmann::ordered_json one = EvaluationToJson(result.evaluation, report.pre_norm);
    one["weight_bits"] = result.bits.weights;
    one["activation_bits"] = result.bits.activations;
    one["worst"] = nlohmann::ordered_json::array();
    for (const QuantizationError& error : result.worst) one["worst"].push_back(ErrorToJson(error));
    quantized.push_back(std::move(one));
  }
  return {{"checkpoint", report.checkpoint},
          {"step", report.step},
          {"data", report.data},
          {"sequence_length", report.sequence_length},
          {"sequences", report.before.result.sequences},
          {"batch_size", report.before.result.batch_size},
          {"calibration", CalibrationToJson(report.calibration_data, report.calibration_sequences,
                                            report.calibration_seed)},
          {"weight_ranges", NameOf(report.options.weights.ranges)},
          {"per_channel", report.options.weights.per_channel},
          {"activation_ranges",
           activations.ranges == ActivationRanges::kRunning ? "running" : "current"},
          {"activation_method",
           activations.method == ActivationMethod::kAsymmetric ? "asymmetric" : "symmetric"},
          {"percentile", activations.percentile},
          {"gate_value", activations.gate_reads_quantized_value ? "quantized" : "unquantized"},
          {"gate_position",
           QuantizesContextBeforeGate(report.options, report.pre_norm) ? "behind" : "before"},
          {"int16_layer_norms", NameOf(activations.sixteen_bit_norms)},
          {"smooth", report.smooth},
          {"fp32", EvaluationToJson(report.before, report.pre_norm)},
          {"quantized", quantized}};
}

}  // namespace sluice
