// What is read for the check of telemetry/bigram_backcopy_check.h, and what is written of it.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "config/load.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/status.h"
#include "nlohmann/json.hpp"
#include "telemetry/bigram_backcopy_check.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

// vga_key_channel, …: in what the gates are not the paper's, apart from the site.
std::string GateName(const GateConfig& gate) {
  std::string name = gate.predictor == "free_scalar" ? "free_gate"
                     : gate.source == "value"        ? "vga"
                                                     : "iga";
  if (gate.site == "key") name += "_key";
  if (gate.predictor == "mlp") name += "_mlp";
  if (gate.granularity == "channel") name += "_channel";
  if (gate.per_head_slice) name += "_slice";
  if (!gate.layers.empty()) name += "_some_layers";
  if (gate.temperature != 1) absl::StrAppend(&name, "_temperature_", gate.temperature);
  if (gate.scale != "1") absl::StrAppend(&name, "_scale_", gate.scale);
  if (gate.initial_probability != 0) absl::StrAppend(&name, "_start_", gate.initial_probability);
  return name;
}

std::string ArmOf(const RunConfig& config) {
  const ModelConfig& model = config.model;
  std::string name =
      model.attention.variant == "gated" ? GateName(model.attention.gate) : model.attention.variant;
  if (model.attention.register_tokens > 0) {
    absl::StrAppend(&name, "_", model.attention.register_tokens, "_registers");
  }
  if (model.num_hidden_layers > 1) {
    absl::StrAppend(&name, "_", model.num_hidden_layers, "_layers");
  }
  if (config.optimizer.name != "adamw") absl::StrAppend(&name, "_", config.optimizer.name);
  return name;
}

SinkRecord ParseRecord(const nlohmann::json& json, const std::string& layer) {
  SinkRecord record{.step = json["step"].get<int64_t>(), .values = {}};
  for (const auto& [name, value] : json.items()) {
    if (!value.is_number() || name == "step") continue;
    if (!absl::StartsWith(name, "layer_")) {
      record.values[name] = value.get<double>();
    } else if (absl::StartsWith(name, layer)) {
      record.values[name.substr(layer.size())] = value.get<double>();
    }
  }
  return record;
}

absl::StatusOr<SinkRun> ReadSinkRun(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return DataError("no such run folder", folder);
  }
  ASSIGN_OR_RETURN(const RunConfig config,
                   LoadRunConfig(folder + "/config.yaml", {}, ConfigUse::kInspection));
  SinkRun run = {.folder = folder,
                 .arm = ArmOf(config),
                 .seed = config.training.seed,
                 .batch = config.training.global_batch_size,
                 .hidden_size = config.model.hidden_size,
                 .length = config.data.sequence_length,
                 .table = config.data.table,
                 .triggers = config.data.triggers,
                 .records = {}};
  const std::string path = folder + "/metrics.jsonl";
  const std::string layer = absl::StrCat("layer_", config.model.num_hidden_layers / 2, ".");
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto has = [&](const char* field) { return json.is_object() && json.contains(field); };
    if (has("event") && json["event"] == "bigram_backcopy" && has("step") &&
        json["step"].is_number_integer()) {
      run.records.push_back(ParseRecord(json, layer));
    }
  }
  if (run.records.empty()) {
    return DataError("the run has no record of event bigram_backcopy", path,
                     "set telemetry.bigram_backcopy_every");
  }
  return run;
}

const char* WordFor(const Verdict& verdict) {
  if (std::isnan(verdict.figure)) return "not measured";
  if (!verdict.bounded) return "(figure only)";
  if (!verdict.gating) return verdict.passed ? "yes (reported only)" : "no (reported only)";
  if (verdict.early) return verdict.passed ? "pass (early)" : "not yet (early)";
  return verdict.passed ? "pass" : "FAIL";
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  return file ? absl::OkStatus() : DeviceError("cannot write", path);
}

struct Curve {
  const char *field, *title;
  bool logarithmic;
};
constexpr Curve kCurves[] = {
    {"backcopy_risk", "Backcopy risk, nats", true},
    {"bigram_risk", "Bigram risk (positions from 1 on), nats", true},
    {"attention_to_start", "Attention of other than trigger queries to <s>", false},
    {"output_value_norm_start", "‖W_O v‖ of <s>", false},
    {"value_ratio", "‖W_O v‖ of <s> over the mean of the others", false},
    {"delta_logit_type", "Δlogit of <s>, mean over token types", false},
    {"gate_non_trigger", "Mean gate of other than trigger queries", false},
    {"residual_norm_start", "Norm of the residual at <s>", false}};

LineChart ChartOf(const Curve& curve, const std::vector<SinkRun>& runs) {
  LineChart chart = {.title = curve.title, .logarithmic = curve.logarithmic, .lines = {}};
  for (const SinkRun& run : runs) {
    ChartLine line = {.label = absl::StrCat(run.arm, ", ", run.seed), .points = {}};
    for (const SinkRecord& record : run.records) {
      const auto found = record.values.find(curve.field);
      if (found == record.values.end()) continue;
      line.points.emplace_back(static_cast<double>(record.step), found->second);
    }
    if (!line.points.empty()) chart.lines.push_back(std::move(line));
  }
  return chart;
}

// A line for each record of each run, with all that is recorded: what the charts draw, and the
// rest.
std::string RecordsAsCsv(const std::vector<SinkRun>& runs) {
  std::set<std::string> fields;
  for (const SinkRun& run : runs) {
    for (const SinkRecord& record : run.records) {
      for (const auto& [name, value] : record.values) fields.insert(name);
    }
  }
  std::string text = "arm,seed,table,triggers,batch_size,hidden_size,sequence_length,step";
  for (const std::string& name : fields) absl::StrAppend(&text, ",", name);
  text += "\n";
  for (const SinkRun& run : runs) {
    for (const SinkRecord& record : run.records) {
      absl::StrAppendFormat(&text, "%s,%d,\"%s\",%d,%d,%d,%d,%d", run.arm, run.seed,
                            absl::StrReplaceAll(run.table, {{"\"", "\"\""}}), run.triggers,
                            run.batch, run.hidden_size, run.length, record.step);
      for (const std::string& name : fields) {
        const auto found = record.values.find(name);
        text += found == record.values.end() ? "," : absl::StrFormat(",%.9g", found->second);
      }
      text += "\n";
    }
  }
  return text;
}

}  // namespace

absl::StatusOr<std::vector<SinkRun>> ReadSinkRuns(const std::vector<std::string>& folders) {
  std::vector<SinkRun> runs;
  for (const std::string& folder : folders) {
    ASSIGN_OR_RETURN(SinkRun run, ReadSinkRun(folder));
    runs.push_back(std::move(run));
  }
  return runs;
}

std::string VerdictsAsMarkdown(const std::vector<Verdict>& verdicts) {
  std::string text =
      "| arm | check | what | seed | at step | figure | verdict |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n";
  std::map<std::string, std::set<uint64_t>> seeds;
  for (const Verdict& verdict : verdicts) {
    absl::StrAppendFormat(&text, "| %s | %s | %s | %s | %d | %.4g | %s |\n", verdict.arm,
                          verdict.check, verdict.what,
                          verdict.of_all_seeds ? "all" : absl::StrCat(verdict.seed), verdict.step,
                          verdict.figure, WordFor(verdict));
    if (!verdict.of_all_seeds) seeds[verdict.arm].insert(verdict.seed);
  }
  if (seeds.empty()) return text + "\nNone of the runs is of an arm that is judged.\n";
  text += "\nSeeds:";
  const char* separator = " ";
  for (const auto& [arm, of_arm] : seeds) {
    absl::StrAppend(&text, separator, of_arm.size(), " of ", arm);
    separator = ", ";
  }
  return text +
         ". The thresholds want three of each, all of which pass; whether they do is in the "
         "table.\n";
}

std::string VerdictsAsJson(const std::vector<Verdict>& verdicts) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Verdict& verdict : verdicts) {
    nlohmann::ordered_json figure = nullptr;
    if (std::isfinite(verdict.figure)) figure = verdict.figure;
    list.push_back({{"check", verdict.check},
                    {"arm", verdict.arm},
                    {"what", verdict.what},
                    {"seed", verdict.of_all_seeds ? nlohmann::ordered_json(nullptr)
                                                  : nlohmann::ordered_json(verdict.seed)},
                    {"step", verdict.step},
                    {"figure", figure},
                    {"passed", verdict.passed},
                    {"gating", verdict.gating},
                    {"early", verdict.early},
                    {"verdict", WordFor(verdict)}});
  }
  return JsonText(list, 1) + "\n";
}

absl::Status WriteSinkReport(const std::vector<SinkRun>& runs, const std::vector<Verdict>& verdicts,
                             const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return DeviceError("cannot make folder", folder, error.message());
  RETURN_IF_ERROR(WriteText(folder + "/verdicts.json", VerdictsAsJson(verdicts)));
  RETURN_IF_ERROR(WriteText(folder + "/verdicts.md", VerdictsAsMarkdown(verdicts)));
  RETURN_IF_ERROR(WriteText(folder + "/records.csv", RecordsAsCsv(runs)));
  for (const Curve& curve : kCurves) {
    const LineChart chart = ChartOf(curve, runs);
    if (chart.lines.empty()) continue;
    RETURN_IF_ERROR(
        WriteText(absl::StrCat(folder, "/", curve.field, ".svg"), DrawLineChart(chart)));
  }
  return absl::OkStatus();
}

}  // namespace sluice
