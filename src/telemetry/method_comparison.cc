#include "telemetry/method_comparison.h"

#include <algorithm>
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

// The first line of a file, as JSON: `sluice evaluate` prints one for each set, `sluice quantize`
// one for the first.
absl::StatusOr<Json> ReadReport(const std::string& path, const std::string& made_by) {
  const absl::StatusOr<std::string> text = ReadWholeFile(path);
  if (!text.ok()) {
    return Annotate(DataError(text.status().message()),
                    absl::StrCat("the run is not measured (", made_by, ")"));
  }
  Json json = Json::parse(text->substr(0, text->find('\n')), nullptr, /*allow_exceptions=*/false);
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
std::string DescribeQuantization(const Json& report) {
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
  if (report.value("smooth", 0.0) != 0) {
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
  run.quantization = DescribeQuantization(quantized);
  return run;
}

// Tables 1 and 2 of arXiv 2510.09017. It has one learnable sink, and says neither which nor which
// site of the gate.
struct PublishedRow {
  const char *architecture, *method;
  std::vector<std::string> table, int8_table;
};
const std::vector<PublishedRow>& PublishedRows() {
  static const std::vector<PublishedRow> rows = {
      {"bert",
       "Vanilla",
       {"4.52 ± 0.03", "812.39 ± 141.62", "2987.23 ± 313.21"},
       {"617.32 ± 191.20", "+612.80", "486.19 ± 227.62", "2508.21 ± 1394.71"}},
      {"bert",
       "Register Tokens",
       {"4.53 ± 0.01", "1205.91 ± 223.14", "7812.73 ± 1281.12"},
       {"913.67 ± 839.10", "+909.14", "415.27 ± 218.05", "7284.18 ± 3365.82"}},
      {"bert",
       "Learnable Sink",
       {"4.53 ± 0.02", "41.65 ± 7.83", "225.88 ± 41.81"},
       {"4.79 ± 0.03", "+0.26", "42.82 ± 2.69", "153.47 ± 38.97"}},
      {"bert",
       "IGA",
       {"4.53 ± 0.01", "38.71 ± 10.19", "90.65 ± 5.78"},
       {"4.67 ± 0.01", "+0.15", "45.06 ± 1.50", "91.27 ± 2.88"}},
      {"bert",
       "VGA",
       {"4.52 ± 0.00", "33.19 ± 6.75", "84.55 ± 2.84"},
       {"4.64 ± 0.01", "+0.12", "37.1 ± 2.37", "78.32 ± 1.82"}},
      {"opt",
       "Vanilla",
       {"15.95 ± 0.03", "1.01 ± 0.04", "2177 ± 274"},
       {"43.78 ± 6.81", "+27.83", "657.77 ± 240.89", "6548.18 ± 1567.07"}},
      {"opt",
       "Register Tokens",
       {"15.85 ± 0.04", "0.75 ± 0.03", "8322.68 ± 1197.74"},
       {"123.81 ± 91.77", "+107.96", "835.33 ± 274.83", "6646.24 ± 3735.05"}},
      {"opt",
       "Learnable Sink",
       {"15.92 ± 0.01", "0.77 ± 0.03", "22.23 ± 6.77"},
       {"17.31 ± 0.01", "+1.39", "114.45 ± 4.05", "26.35 ± 4.26"}},
      {"opt",
       "IGA",
       {"15.65 ± 0.01", "0.50 ± 0.02", "102 ± 1.32"},
       {"16.77 ± 0.01", "+1.12", "102.15 ± 3.81", "95.48 ± 6.12"}},
      {"opt",
       "VGA",
       {"15.49 ± 0.00", "0.45 ± 0.03", "34.77 ± 4.65"},
       {"16.42 ± 0.01", "+0.93", "100.01 ± 3.44", "18.34 ± 1.65"}}};
  return rows;
}

// The tables' gates: in every layer one a head, sigmoid of a linear function of all features.
bool IsThePapers(const GateConfig& gate) {
  return gate.site == "query" && gate.predictor == "linear" && gate.granularity == "head" &&
         !gate.per_head_slice && gate.layers.empty() && gate.temperature == 1 &&
         GateScale(gate) == 1;
}

// What this paper calls an attention, and its place in the tables.
struct Method {
  std::string name;
  std::string published;  // PublishedRow::method, or empty
  int place;
};

Method MethodOf(const AttentionConfig& attention) {
  const bool registers = attention.register_tokens > 0;
  if (attention.variant == "learnable_sink") {
    const bool logit = attention.learnable_sink == "logit";
    return {logit ? "Learnable Sink (logit)" : "Learnable Sink (token)",
            registers ? "" : "Learnable Sink", logit ? 2 : 3};
  }
  if (attention.variant == "clipped_softmax") return {"Clipped Softmax", "", 8};
  if (attention.variant == "softmax_plus_one") return {"Softmax Plus One", "", 9};
  if (attention.variant == "relu") return {"ReLU", "", 10};
  if (attention.variant != "gated") {
    return registers ? Method{"Register Tokens", "Register Tokens", 1}
                     : Method{"Vanilla", "Vanilla", 0};
  }
  const bool value = attention.gate.source == "value", query = attention.gate.site == "query";
  const bool reads = attention.gate.predictor != "free_scalar";  // a source
  const std::string name = !reads ? "Free Gate" : value ? "VGA" : "IGA";
  if (IsThePapers(attention.gate) && !registers) return {name, name, value ? 6 : 4};
  return {query ? name : name + " (key site)", "", value ? 7 : 5};
}

template <typename Value>
Spread SpreadOf(const std::vector<MeasuredRun>& runs, const Value& value) {
  Spread spread = {.mean = 0, .deviation = kNotANumber, .count = static_cast<int64_t>(runs.size())};
  for (const MeasuredRun& run : runs) spread.mean += value(run) / static_cast<double>(runs.size());
  if (runs.size() < 2) return spread;
  double squares = 0;
  for (const MeasuredRun& run : runs) squares += std::pow(value(run) - spread.mean, 2);
  spread.deviation = std::sqrt(squares / static_cast<double>(runs.size() - 1));
  return spread;
}

MethodRow MakeRow(std::vector<MeasuredRun> runs) {
  MethodRow row;
  row.architecture = runs.front().config.model.architecture;
  const Method method = MethodOf(runs.front().config.model.attention);
  row.method = method.name;
  const ComparedMetrics& columns = ComparedMetricsOf(row.architecture);
  const auto outlier = [&](Measurement MeasuredRun::*when, const std::string& name) {
    return SpreadOf(runs, [&](const MeasuredRun& run) { return OutlierOf(run.*when, name); });
  };
  row.perplexity = SpreadOf(runs, [](const MeasuredRun& run) { return run.fp32.perplexity; });
  row.norm = outlier(&MeasuredRun::fp32, columns.norm);
  row.kurtosis = outlier(&MeasuredRun::fp32, columns.kurtosis);
  row.int8_perplexity = SpreadOf(runs, [](const MeasuredRun& run) { return run.int8.perplexity; });
  row.int8_gap = SpreadOf(
      runs, [](const MeasuredRun& run) { return run.int8.perplexity - run.fp32.perplexity; });
  row.int8_norm = outlier(&MeasuredRun::int8, columns.int8_norm);
  row.int8_kurtosis = outlier(&MeasuredRun::int8, columns.kurtosis);
  for (const PublishedRow& published : PublishedRows()) {
    if (published.architecture != row.architecture || published.method != method.published)
      continue;
    row.paper = published.table;
    row.paper_int8 = published.int8_table;
  }
  row.runs = std::move(runs);
  return row;
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

absl::StatusOr<std::vector<MethodRow>> CompareMethods(const std::vector<MeasuredRun>& runs) {
  // Rising place, then name.
  std::map<std::tuple<std::string, int, std::string>, std::map<uint64_t, MeasuredRun>> groups;
  for (const MeasuredRun& run : runs) {
    const std::tuple key(run.config.model.architecture, MethodOf(run.config.model.attention).place,
                         run.config.name);
    const auto [place, is_new] = groups[key].emplace(run.config.training.seed, run);
    if (!is_new) {
      return UsageError("two runs of one name and seed", run.folder,
                        absl::StrCat(place->second.folder, " is ", run.config.name, ", seed ",
                                     run.config.training.seed, ", too"));
    }
  }
  std::vector<MethodRow> rows;
  for (const auto& [key, by_seed] : groups) {
    std::vector<MeasuredRun> of_method;
    for (const auto& [seed, run] : by_seed) of_method.push_back(run);
    rows.push_back(MakeRow(std::move(of_method)));
  }
  // What several names share is told apart by them.
  std::map<std::string, int> uses;
  for (const MethodRow& row : rows) ++uses[row.architecture + row.method];
  for (MethodRow& row : rows) {
    if (uses[row.architecture + row.method] > 1)
      absl::StrAppend(&row.method, ", ", row.runs.front().config.name);
  }
  return rows;
}

}  // namespace sluice
