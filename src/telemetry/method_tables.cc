// What is written of a comparison of methods (telemetry/method_comparison.h).
#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/json_text.h"
#include "nlohmann/json.hpp"
#include "telemetry/method_comparison.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

// Behind the point, as the paper: 15.49, 0.450, 2177.
int DigitsOf(double value) {
  const double size = std::abs(value);
  return size >= 1000 ? 0 : size >= 1 ? 2 : 3;
}

std::string Text(const Spread& spread) {
  const int digits = DigitsOf(spread.mean);
  return spread.count > 1
             ? absl::StrFormat("%.*f ± %.*f", digits, spread.mean, digits, spread.deviation)
             : absl::StrFormat("%.*f", digits, spread.mean);
}

std::string SignedText(const Spread& spread) {
  return absl::StrFormat("%+.*f", DigitsOf(spread.mean), spread.mean);
}

// "| a | b |", with dashes for what the paper does not have.
std::string Line(const std::string& method, const std::vector<std::string>& ours,
                 const std::vector<std::string>& paper) {
  std::vector<std::string> cells = {method};
  cells.insert(cells.end(), ours.begin(), ours.end());
  for (size_t i = 0; i < ours.size(); ++i) cells.push_back(i < paper.size() ? paper[i] : "–");
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |\n");
}

std::string Head(const std::vector<std::string>& columns) {
  std::vector<std::string> cells = {"Method"};
  cells.insert(cells.end(), columns.begin(), columns.end());
  for (const std::string& column : columns) cells.push_back("paper: " + column);
  const std::vector<std::string> rule(cells.size(), "---");
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |\n| ", absl::StrJoin(rule, " | "),
                      " |\n");
}

template <typename Value>
std::string All(const std::vector<MethodRow>& rows, const Value& value,
                const char* separator = ", ") {
  std::set<decltype(value(rows.front().runs.front()))> values;
  for (const MethodRow& row : rows) {
    for (const MeasuredRun& run : row.runs) values.insert(value(run));
  }
  return absl::StrJoin(values, separator);
}

// What the runs have in common; where they differ, all values.
std::string Setup(const std::vector<MethodRow>& rows) {
  return absl::StrCat(
      "Layers ",
      All(rows, [](const MeasuredRun& run) { return run.config.model.num_hidden_layers; }),
      ", width ", All(rows, [](const MeasuredRun& run) { return run.config.model.hidden_size; }),
      ", heads ",
      All(rows, [](const MeasuredRun& run) { return run.config.model.num_attention_heads; }),
      ", vocabulary ",
      All(rows, [](const MeasuredRun& run) { return run.config.model.vocab_size; }), ", T ",
      All(rows, [](const MeasuredRun& run) { return run.config.data.sequence_length; }),
      "; updates ", All(rows, [](const MeasuredRun& run) { return run.step; }), " of ",
      All(rows, [](const MeasuredRun& run) { return run.config.training.global_batch_size; }),
      " sequences, ",
      All(rows, [](const MeasuredRun& run) { return run.config.training.precision; }), "; seeds ",
      All(rows, [](const MeasuredRun& run) { return run.config.training.seed; }), "; measured on ",
      All(rows, [](const MeasuredRun& run) { return run.data; }),
      " in fp32. ± is the standard deviation over seeds (n - 1).\n\nINT8: ",
      All(
          rows, [](const MeasuredRun& run) { return run.quantization; }, " | "),
      ".\n");
}

// Seeds apart; with the norm of Table 2 before quantization too, since that of OPT's Table 1, a
// mean over tokens, hardly sees what one token has.
std::string EachRun(const std::vector<MethodRow>& rows) {
  const ComparedMetrics& metrics = ComparedMetricsOf(rows.front().architecture);
  std::string text =
      "\nEach run: perplexity, and outliers before quantization\n\n"
      "| Method | Seed | Updates | FP32 | INT8 | Δ | Norm of Table 2, FP32 | Max kurtosis, FP32 |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const MethodRow& row : rows) {
    for (const MeasuredRun& run : row.runs) {
      absl::StrAppendFormat(&text, "| %s | %d | %d | %.3f | %.3f | %+.3f | %.2f | %.2f |\n",
                            row.method, run.config.training.seed, run.step, run.fp32.perplexity,
                            run.int8.perplexity, run.int8.perplexity - run.fp32.perplexity,
                            OutlierOf(run.fp32, metrics.int8_norm),
                            OutlierOf(run.fp32, metrics.largest_kurtosis));
    }
  }
  return text;
}

// The runs of one architecture.
std::string Section(const std::vector<MethodRow>& rows) {
  const std::string model = rows.front().architecture == "bert" ? "BERT" : "OPT";
  std::string text = absl::StrCat("## ", model, "\n\n", Setup(rows), "\nTable 1: ", model,
                                  " before quantization\n\n",
                                  Head({"Perplexity", "Max I+O Norm", "Avg. kurtosis"}));
  for (const MethodRow& row : rows) {
    text += Line(row.method, {Text(row.perplexity), Text(row.norm), Text(row.kurtosis)}, row.paper);
  }
  absl::StrAppend(
      &text, "\nTable 2: ", model, " after INT8 quantization (W8A8, simulated)\n\n",
      Head({"INT8 Perplexity", "Δ Perplexity (vs. FP32)", "Max I+O Norm", "Avg. kurtosis"}));
  for (const MethodRow& row : rows) {
    text += Line(row.method,
                 {Text(row.int8_perplexity), SignedText(row.int8_gap), Text(row.int8_norm),
                  Text(row.int8_kurtosis)},
                 row.paper_int8);
  }
  return text + EachRun(rows);
}

std::vector<std::vector<MethodRow>> ByArchitecture(const std::vector<MethodRow>& rows) {
  std::map<std::string, std::vector<MethodRow>> groups;
  for (const MethodRow& row : rows) groups[row.architecture].push_back(row);
  std::vector<std::vector<MethodRow>> list;
  for (auto& [architecture, group] : groups) list.push_back(std::move(group));
  return list;
}

Json NumberJson(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json SpreadJson(const Spread& spread) {
  return {{"mean", NumberJson(spread.mean)},
          {"deviation", NumberJson(spread.deviation)},
          {"runs", spread.count}};
}

Json MeasurementJson(const Measurement& measurement) {
  Json json = {{"perplexity", NumberJson(measurement.perplexity)}};
  for (const auto& [name, value] : measurement.outliers) json["outliers"][name] = NumberJson(value);
  return json;
}

}  // namespace

std::string TablesAsMarkdown(const std::vector<MethodRow>& rows) {
  std::string text;
  for (const std::vector<MethodRow>& of_one : ByArchitecture(rows)) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", Section(of_one));
  }
  return text;
}

std::string TablesAsJson(const std::vector<MethodRow>& rows) {
  Json list = Json::array();
  for (const MethodRow& row : rows) {
    Json runs = Json::array();
    for (const MeasuredRun& run : row.runs) {
      runs.push_back({{"folder", run.folder},
                      {"seed", run.config.training.seed},
                      {"step", run.step},
                      {"data", run.data},
                      {"quantization", run.quantization},
                      {"fp32", MeasurementJson(run.fp32)},
                      {"int8", MeasurementJson(run.int8)}});
    }
    list.push_back({{"architecture", row.architecture},
                    {"method", row.method},
                    {"name", row.runs.front().config.name},
                    {"perplexity", SpreadJson(row.perplexity)},
                    {"max_io_norm", SpreadJson(row.norm)},
                    {"average_kurtosis", SpreadJson(row.kurtosis)},
                    {"int8_perplexity", SpreadJson(row.int8_perplexity)},
                    {"int8_difference", SpreadJson(row.int8_gap)},
                    {"int8_max_io_norm", SpreadJson(row.int8_norm)},
                    {"int8_average_kurtosis", SpreadJson(row.int8_kurtosis)},
                    {"paper", row.paper},
                    {"paper_int8", row.paper_int8},
                    {"runs", runs}});
  }
  return JsonText(list, 1) + "\n";
}

std::string RunsAsCsv(const std::vector<MethodRow>& rows) {
  std::set<std::string> metrics;
  for (const MethodRow& row : rows) {
    for (const MeasuredRun& run : row.runs) {
      for (const auto& [name, value] : run.fp32.outliers) metrics.insert(name);
    }
  }
  std::string text = "architecture,method,name,seed,step,perplexity,int8_perplexity";
  for (const std::string& name : metrics) absl::StrAppend(&text, ",", name, ",int8_", name);
  text += "\n";
  const auto append = [&text](const Measurement& measurement, const std::string& name) {
    const auto found = measurement.outliers.find(name);
    text += found == measurement.outliers.end() ? "," : absl::StrFormat(",%.9g", found->second);
  };
  for (const MethodRow& row : rows) {
    for (const MeasuredRun& run : row.runs) {
      absl::StrAppendFormat(&text, "%s,\"%s\",%s,%d,%d,%.9g,%.9g", row.architecture, row.method,
                            run.config.name, run.config.training.seed, run.step,
                            run.fp32.perplexity, run.int8.perplexity);
      for (const std::string& name : metrics) {
        append(run.fp32, name);
        append(run.int8, name);
      }
      text += "\n";
    }
  }
  return text;
}

}  // namespace sluice
