#include "tools/integer_report.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tools/quantization_report.h"

namespace sluice {
namespace {

double Percent(double used, double tolerance) {
  return tolerance == 0 ? 0 : 100 * std::abs(used) / tolerance;
}

std::string DescribeAgreement(const IntegerAgreement& agreement) {
  if (!agreement.judged) {
    return absl::StrFormat(
        "int8 and simulation differ by %+.2e nats; fewer than %d batches do not say what they may",
        agreement.difference, IntegerAgreement::kFewestBatches);
  }
  return absl::StrFormat(
      "int8 and simulation differ by %+.2e nats, %.0f %% of the %.2e that roundings may do; "
      "batches "
      "by %.2e, %.0f %% of %.2e",
      agreement.difference, Percent(agreement.difference, agreement.tolerance), agreement.tolerance,
      agreement.batch_difference, Percent(agreement.batch_difference, agreement.batch_tolerance),
      agreement.batch_tolerance);
}

nlohmann::ordered_json ToJson(const EvaluationResult& result) {
  return {{"perplexity", result.perplexity},
          {"loss", result.loss},
          {"accuracy", result.accuracy},
          {"seconds", result.seconds}};
}

}  // namespace

std::string FormatIntegerReport(const IntegerReport& report) {
  const IntegerEvaluation& all = report.evaluation;
  std::string text = absl::StrFormat("%s step %d on %s (%d sequences of %d tokens, %d targets)\n",
                                     report.checkpoint, report.step, report.data,
                                     all.fp32.sequences, report.sequence_length, all.fp32.targets);
  absl::StrAppendFormat(&text, "calibrated on %d sequences of %s\n", report.calibration_sequences,
                        report.calibration_data);
  if (report.sixteen_bit_norms != SixteenBitNorms::kNone) {
    absl::StrAppend(&text, "LayerNorms with 16 bits: ", NameOf(report.sixteen_bit_norms), "\n");
  }
  const auto line = [&](const char* name, const EvaluationResult& result) {
    absl::StrAppendFormat(&text, "%-14s  perplexity %.4f  loss %.6f  accuracy %.4f  (%.1f s)\n",
                          name, result.perplexity, result.loss, result.accuracy, result.seconds);
  };
  line("fp32", all.fp32);
  line("simulated W8A8", all.simulated);
  line("int8", all.integer);
  absl::StrAppendFormat(&text,
                        "integer products in %d of %d linear layers; %.2f times as fast as fp32\n",
                        all.coverage.in_integers, all.coverage.layers, report.speed());
  if (!all.coverage.in_fp32.empty()) {
    absl::StrAppend(&text, "left in fp32: ", absl::StrJoin(all.coverage.in_fp32, ", "), "\n");
  }
  absl::StrAppend(&text, DescribeAgreement(all.agreement), "\n");
  return text;
}

nlohmann::ordered_json IntegerReportToJson(const IntegerReport& report) {
  const IntegerEvaluation& all = report.evaluation;
  nlohmann::ordered_json json = {{"checkpoint", report.checkpoint},
                                 {"step", report.step},
                                 {"data", report.data},
                                 {"sequence_length", report.sequence_length},
                                 {"perplexity", all.integer.perplexity},
                                 {"loss", all.integer.loss},
                                 {"accuracy", all.integer.accuracy},
                                 {"sequences", all.integer.sequences},
                                 {"targets", all.integer.targets},
                                 {"batch_size", all.integer.batch_size},
                                 {"seconds", all.integer.seconds}};
  json["int8"] = {
      {"calibration", CalibrationToJson(report.calibration_data, report.calibration_sequences,
                                        report.calibration_seed)},
      {"gate_position", report.gate_behind_context ? "behind" : "before"},
      {"int16_layer_norms", NameOf(report.sixteen_bit_norms)},
      {"layers", all.coverage.layers},
      {"layers_in_integers", all.coverage.in_integers},
      {"in_fp32", all.coverage.in_fp32},
      {"fp32", ToJson(all.fp32)},
      {"simulated", ToJson(all.simulated)},
      {"speed", report.speed()},
      {"difference", all.agreement.difference}};
  json["int8"]["tolerance"] = all.agreement.judged ? nlohmann::ordered_json(all.agreement.tolerance)
                                                   : nlohmann::ordered_json(nullptr);
  json["int8"]["batch_difference"] = all.agreement.batch_difference;
  json["int8"]["batch_tolerance"] = all.agreement.judged
                                        ? nlohmann::ordered_json(all.agreement.batch_tolerance)
                                        : nlohmann::ordered_json(nullptr);
  return json;
}

}  // namespace sluice
