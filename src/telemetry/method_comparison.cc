#include "telemetry/method_comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "config/dump.h"
#include "core/error.h"
#include "core/status.h"
#include "telemetry/published_tables.h"

namespace sluice {
namespace {

constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

// The tables' gates: in every layer one a head, sigmoid of a linear function of all features, of
// the values without a bias.
bool IsThePapers(const GateConfig& gate) {
  return gate.site == "query" && gate.predictor == "linear" && gate.granularity == "head" &&
         !gate.per_head_slice && gate.layers.empty() && gate.temperature == 1 &&
         GateScale(gate) == 1 && (gate.source == "input" || !gate.bias);
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

// Of what two runs may differ in and be seeds of one row: not what is trained, on what, or how
// long.
bool MayDifferInRow(const std::string& key) {
  for (const char* free :
       {"training.seed", "training.log_every", "training.evaluate_every",
        "training.evaluation_batches", "training.gradient_accumulation_steps", "checkpoint.",
        "telemetry.", "runtime.", "data.prefetch_batches", "data.train", "data.validation"}) {
    if (absl::StartsWith(key, free)) return true;  // data are compared by what they are called
  }
  return false;
}

// A mean over seeds is of one thing.
absl::Status CheckSeedsAlone(const std::vector<MeasuredRun>& runs) {
  const MeasuredRun& first = runs.front();
  for (const MeasuredRun& run : runs) {
    std::string differences;
    const auto add = [&](const std::string& what, const auto& a, const auto& b) {
      absl::StrAppend(&differences, "; ", what, " ", a, " and ", b);
    };
    for (const KeyDifference& difference : ConfigDifference(first.config, run.config)) {
      if (!MayDifferInRow(difference.key)) add(difference.key, difference.a, difference.b);
    }
    if (run.step != first.step) add("updates", first.step, run.step);
    if (run.data != first.data) add("measured on", first.data, run.data);
    if (run.length != first.length) add("rows of", first.length, run.length);
    if (run.quantization != first.quantization) {
      add("INT8 by", first.quantization, run.quantization);
    }
    if (differences.empty()) continue;
    return UsageError(
        absl::StrCat("two runs of the name ", run.config.name, " differ in more than their seed"),
        run.folder, absl::StrCat("beside ", first.folder, differences));
  }
  return absl::OkStatus();
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
    RETURN_IF_ERROR(CheckSeedsAlone(of_method));
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
