#include "telemetry/measured_run.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "config/load.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

using Json = nlohmann::json;

constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

// The first object of a file: `sluice evaluate` and `sluice quantize` print one a line for each
// set, `quantize --out` writes one over several lines, or a list of them.
absl::StatusOr<Json> ReadReport(const std::string& path, const std::string& made_by) {
  const absl::StatusOr<std::string> text = ReadWholeFile(path);
  if (!text.ok()) {
    return Annotate(DataError(text.status().message()),
                    absl::StrCat("the run is not measured (", made_by, ")"));
  }
  Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    json = Json::parse(text->substr(0, text->find('\n')), nullptr, /*allow_exceptions=*/false);
  }
  if (json.is_array() && !json.empty()) json = Json(json.front());
  if (!json.is_object()) return DataError("not what the program prints", path, made_by);
  return json;
}

// JSON has no NaN: what is not finite is null there.
double NumberOf(const Json& json) { return json.is_number() ? json.get<double>() : kNotANumber; }

absl::StatusOr<Measurement> ParseMeasurement(const Json& json, const std::string& path) {
  if (!json.is_object() || !json.contains("perplexity")) {
    return DataError("the report has no perplexity", path);
  }
  const Json* metrics = nullptr;
  if (json.contains("outliers") && json["outliers"].is_object() &&
      json["outliers"].contains("metrics")) {
    metrics = &json["outliers"]["metrics"];
  }
  if (metrics == nullptr || !metrics->is_object()) {
    return DataError("the report has no outlier metrics", path, "leave --no-outliers away");
  }
  Measurement measurement = {.perplexity = NumberOf(json["perplexity"]), .outliers = {}};
  for (const auto& [name, value] : metrics->items()) measurement.outliers[name] = NumberOf(value);
  return measurement;
}

absl::StatusOr<Measurement> FindInt8(const Json& report, const std::string& path) {
  const auto all = report.find("quantized");
  if (all != report.end() && all->is_array()) {
    for (const Json& one : *all) {
      if (one.is_object() && one.value("weight_bits", 0) == 8 &&
          one.value("activation_bits", 0) == 8) {
        return ParseMeasurement(one, path);
      }
    }
  }
  return DataError("the report has no W8A8", path);
}

std::string TextOf(const Json& report, const char* field) {
  const auto found = report.find(field);
  if (found == report.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

// Of the settings that quantize.json says, so that two ways are seen where they meet in a table.
std::string DescribeQuantization(const Json& report, const std::string& architecture) {
  const auto text = [&](const char* field) { return TextOf(report, field); };
  std::string description =
      absl::StrCat("weights by ", text("weight_ranges"), ", one range a ",
                   text("per_channel") == "true" ? "channel" : "tensor", "; activations ",
                   text("activation_method"), ", ", text("activation_ranges"),
                   " ranges of percentile ", text("percentile"));
  if (report.contains("calibration")) {
    absl::StrAppend(&description, ", calibrated on ", TextOf(report["calibration"], "sequences"),
                    " sequences");
  }
  if (text("gate_value") != "quantized") {
    absl::StrAppend(&description, "; gates of ", text("gate_value"), " values");
  }
  const std::string published = architecture == "bert" ? "before" : "behind";
  const std::string position = text("gate_position");
  if (!position.empty() && position != published) {
    absl::StrAppend(&description, "; gates ", position, " the context's quantizer");
  }
  const std::string norms = text("int16_layer_norms");
  if (!norms.empty() && norms != "none") {
    absl::StrAppend(&description, "; 16 bits for LayerNorms: ", norms);
  }
  const auto smooth = report.find("smooth");
  if (smooth != report.end() && *smooth != 0) {
    absl::StrAppend(&description, "; smoothed by ", text("smooth"));
  }
  return description;
}

absl::StatusOr<MeasuredRun> ReadMeasuredRun(const std::string& folder) {
  const std::string evaluate_path = folder + "/evaluate.json",
                    quantize_path = folder + "/quantize.json";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return DataError("no such run folder", folder);
  }
  MeasuredRun run;
  run.folder = folder;
  ASSIGN_OR_RETURN(run.config, LoadRunConfig(folder + "/config.yaml", {}, ConfigUse::kInspection));
  if (run.config.model.architecture == "bigram_backcopy") {
    return UsageError("the tables are of language models; `sluice check bigram-backcopy` is for",
                      folder);
  }
  ASSIGN_OR_RETURN(const Json evaluated,
                   ReadReport(evaluate_path, absl::StrCat("sluice evaluate ", folder,
                                                          " --precision fp32 --json")));
  ASSIGN_OR_RETURN(const Json quantized,
                   ReadReport(quantize_path, absl::StrCat("sluice quantize ", folder, " --json")));
  for (const char* field : {"step", "data", "sequences", "batch_size"}) {
    const std::string a = TextOf(evaluated, field), b = TextOf(quantized, field);
    if (a.empty() || a != b) {
      return DataError("evaluate.json and quantize.json are of different checkpoints or data",
                       folder, absl::StrCat(field, " ", a, " and ", b));
    }
  }
  run.length = TextOf(evaluated, "sequence_length");
  if (const std::string of_int8 = TextOf(quantized, "sequence_length"); run.length != of_int8) {
    return DataError("evaluate.json and quantize.json are of rows of different lengths", folder,
                     absl::StrCat("sequence_length ", run.length, " and ", of_int8));
  }
  if (const std::string precision = TextOf(evaluated, "precision"); precision != "fp32") {
    return DataError("evaluate.json is not of fp32", folder, absl::StrCat("precision ", precision));
  }
  if (!evaluated["step"].is_number_integer())
    return DataError("step is not a number", evaluate_path);
  run.step = evaluated["step"].get<int64_t>();
  run.data = TextOf(evaluated, "data");
  ASSIGN_OR_RETURN(run.fp32, ParseMeasurement(evaluated, evaluate_path));
  ASSIGN_OR_RETURN(run.int8, FindInt8(quantized, quantize_path));
  ASSIGN_OR_RETURN(const Measurement before,
                   ParseMeasurement(quantized.value("fp32", Json()), quantize_path));
  // The same sums, perhaps with other threads or on another device.
  if (!(std::abs(run.fp32.perplexity - before.perplexity) <= 1e-3 * before.perplexity)) {
    return DataError("evaluate.json and quantize.json do not begin with the same model", folder,
                     absl::StrCat("perplexity ", run.fp32.perplexity, " and ", before.perplexity));
  }
  run.quantization = DescribeQuantization(quantized, run.config.model.architecture);
  return run;
}

}  // namespace

const ComparedMetrics& ComparedMetricsOf(const std::string& architecture) {
  static const ComparedMetrics bert = {
      .norm = "max_inf_norm_feed_forward_residual_sum_per_sequence",
      .int8_norm = "max_inf_norm_feed_forward_residual_sum_per_sequence",
      .kurtosis = "average_kurtosis_feed_forward_output_and_norm_per_sequence",
      .largest_kurtosis = "max_kurtosis_feed_forward_output_and_norm_per_sequence"};
  static const ComparedMetrics opt = {.norm = "max_inf_norm_feed_forward_output_per_token",
                                      .int8_norm = "max_inf_norm_all_tensors_mixed_rows",
                                      .kurtosis = "average_kurtosis_all_tensors_mixed_rows",
                                      .largest_kurtosis = "max_kurtosis_all_tensors_mixed_rows"};
  return architecture == "bert" ? bert : opt;
}

double OutlierOf(const Measurement& measurement, const std::string& name) {
  const auto found = measurement.outliers.find(name);
  return found == measurement.outliers.end() ? kNotANumber : found->second;
}

absl::StatusOr<std::vector<MeasuredRun>> ReadMeasuredRuns(const std::vector<std::string>& folders) {
  std::vector<MeasuredRun> runs;
  for (const std::string& folder : folders) {
    ASSIGN_OR_RETURN(MeasuredRun run, ReadMeasuredRun(folder));
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace sluice
