#include "report/summary.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "report/flat_config.h"

namespace sluice {
namespace {

using Figure = std::optional<double>;
using Measure = std::function<Figure(const ReportRun&)>;

struct MeasuredColumn {
  SummaryColumn column;
  Measure measure;
};

constexpr char kPerplexityEnding[] = ".perplexity";

// The data sets that any run was evaluated on, in the order in which runs have them.
std::vector<std::string> DataSets(const std::vector<ReportRun>& runs) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const ReportRun& run : runs) {
    for (const ReportEvaluation& evaluation : run.evaluations) add(evaluation.data);
    const std::string prefix = "evaluation.";
    for (const auto& [name, points] : run.series) {
      if (absl::StartsWith(name, prefix) && absl::EndsWith(name, kPerplexityEnding)) {
        add(name.substr(prefix.size(),
                        name.size() - prefix.size() - sizeof(kPerplexityEnding) + 1));
      }
    }
  }
  return names;
}

Figure Perplexity(const ReportRun& run, const std::string& data) {
  for (const ReportEvaluation& evaluation : run.evaluations) {
    if (evaluation.data == data && evaluation.perplexity.has_value()) return evaluation.perplexity;
  }
  return run.Last(absl::StrCat("evaluation.", data, kPerplexityEnding));
}

// W8A8 of quantize.json if it is there, else its first entry.
const ReportEvaluation* Quantization(const ReportRun& run) {
  const ReportEvaluation* chosen = nullptr;
  for (const ReportEvaluation& one : run.quantizations) {
    if (chosen == nullptr || (chosen->bits != "W8A8" && one.bits == "W8A8")) chosen = &one;
  }
  return chosen;
}

// Of the first data set with such a record.
Figure LastQuantization(const ReportRun& run, const std::string& field) {
  for (const auto& [name, points] : run.series) {
    if (absl::StartsWith(name, "quantization.") && absl::EndsWith(name, "." + field)) {
      return points.back().second;
    }
  }
  return std::nullopt;
}

Figure QuantizedPerplexity(const ReportRun& run) {
  if (const ReportEvaluation* one = Quantization(run); one != nullptr) {
    return one->quantized_perplexity;
  }
  return LastQuantization(run, "quantized_perplexity");
}

Figure QuantizationGap(const ReportRun& run) {
  const ReportEvaluation* one = Quantization(run);
  if (one == nullptr) return LastQuantization(run, "gap");
  if (!one->quantized_perplexity.has_value() || !one->perplexity.has_value()) return std::nullopt;
  return *one->quantized_perplexity - *one->perplexity;
}

// The first of `names` (or what begins with it) in the outliers of evaluate.json, else
// quantize.json.
Figure Outlier(const ReportRun& run, const std::vector<std::string>& names) {
  for (const auto* results : {&run.evaluations, &run.quantizations}) {
    if (results->empty()) continue;
    const std::map<std::string, double>& outliers = results->front().outliers;
    for (const std::string& name : names) {
      const auto found = outliers.lower_bound(name);
      if (found != outliers.end() && absl::StartsWith(found->first, name)) return found->second;
    }
  }
  return std::nullopt;
}

Figure LastOfHeads(const ReportRun& run, const std::string& name) {
  const auto found = run.heads.find(name);
  if (found == run.heads.end() || found->second.empty()) return std::nullopt;
  return MeanOverHeads(found->second.back());
}

Figure SinkFigure(const ReportRun& run, const std::string& heads, const std::string& backcopy) {
  if (const Figure figure = LastOfHeads(run, heads); figure.has_value()) return figure;
  return run.Last(absl::StrCat("bigram_backcopy.layer_", MiddleLayer(run), ".", backcopy));
}

Figure MedianThroughput(const ReportRun& run) {
  const auto found = run.series.find("train.tokens_per_s");
  if (found == run.series.end()) return std::nullopt;
  std::vector<double> values;
  for (const auto& [step, value] : found->second) {
    if (std::isfinite(value)) values.push_back(value);
  }
  if (values.empty()) return std::nullopt;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<MeasuredColumn> AllColumns(const std::vector<ReportRun>& runs) {
  std::vector<MeasuredColumn> columns;
  const std::vector<std::string> sets = DataSets(runs);
  for (const std::string& data : sets) {
    columns.push_back({{sets.size() == 1 ? "perplexity" : "perplexity, " + data,
                        absl::StrCat("on ", data, ": evaluate.json, else the last evaluation")},
                       [data](const ReportRun& run) { return Perplexity(run, data); }});
  }
  columns.push_back({{"quantized perplexity",
                      "quantize.json (W8A8, else its first entry), else the last quantization "
                      "record"},
                     QuantizedPerplexity});
  columns.push_back(
      {{"gap", "quantized perplexity − perplexity, of the same source"}, QuantizationGap});
  columns.push_back({{"max I+O norm",
                      "evaluate.json, else quantize.json: the published Max I+O Norm of the "
                      "architecture (docs/metrics.md)"},
                     [](const ReportRun& run) {
                       return Outlier(run, {"max_inf_norm_feed_forward_residual_sum_per_sequence",
                                            "max_inf_norm_feed_forward_output_per_token"});
                     }});
  columns.push_back({{"kurtosis", "evaluate.json, else quantize.json: the published Avg Kurtosis"},
                     [](const ReportRun& run) { return Outlier(run, {"average_kurtosis"}); }});
  columns.push_back({{"sink mass",
                      "attention to the first position, mean over layers and heads: last attention "
                      "record; of Bigram-Backcopy attention_to_start of the middle layer"},
                     [](const ReportRun& run) {
                       return SinkFigure(run, "attention.mass_on_first", "attention_to_start");
                     }});
  columns.push_back({{"value norm ratio",
                      "value norm of the sink over that of the others: last attention "
                      "record; of Bigram-Backcopy value_ratio"},
                     [](const ReportRun& run) {
                       return SinkFigure(run, "attention.value_norm_ratio", "value_ratio");
                     }});
  columns.push_back({{"tokens/s", "median of the train records"}, MedianThroughput});
  return columns;
}

SummaryRow RowOf(const ReportRun& run, int style, const std::vector<MeasuredColumn>& columns) {
  SummaryRow row = {.name = run.name,
                    .variant = run.variant,
                    .seed = run.Setting("training.seed").value_or(""),
                    .step = run.last_step(),
                    .style = style,
                    .values = {},
                    .deviations = {}};
  if (!absl::SimpleAtoi(run.Setting("training.steps").value_or(""), &row.planned_steps)) {
    row.planned_steps = 0;
  }
  for (const MeasuredColumn& column : columns) row.values.push_back(column.measure(run));
  row.deviations.resize(columns.size());
  return row;
}

// `members` are indices of rows of one step that differ in nothing but the seed.
SummaryRow GroupRow(const std::vector<SummaryRow>& rows, const std::vector<size_t>& members) {
  std::vector<std::string> seeds;
  SummaryRow group;
  group.variant = rows[members[0]].variant;
  group.step = rows[members[0]].step;
  group.planned_steps = rows[members[0]].planned_steps;
  group.runs = static_cast<int64_t>(members.size());
  for (const size_t i : members) seeds.push_back(rows[i].seed);
  group.name = absl::StrCat("mean ± SD, n = ", members.size());
  group.seed = absl::StrJoin(seeds, ", ");
  for (size_t column = 0; column < rows[members[0]].values.size(); ++column) {
    std::vector<double> values;
    for (const size_t i : members) {
      if (rows[i].values[column].has_value()) values.push_back(*rows[i].values[column]);
    }
    const MeanAndDeviation spread = Spread(values);
    group.values.push_back(spread.mean);
    group.deviations.push_back(spread.deviation);
  }
  return group;
}

// Rows of each set of runs that differ in nothing but the seed and are as far as each other: a mean
// over different steps would be of nothing. Runs without a configuration are in none.
std::vector<std::vector<size_t>> SeedGroups(const std::vector<ReportRun>& runs) {
  std::vector<std::vector<size_t>> groups;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].config.empty()) continue;
    const std::string identity = absl::StrCat(
        runs[i].last_step(), " ", ConfigIdentity(runs[i].config, {"training.seed", "name"}));
    const auto [found, novel] = known.try_emplace(identity, groups.size());
    if (novel) groups.emplace_back();
    groups[found->second].push_back(i);
  }
  return groups;
}

}  // namespace

MeanAndDeviation Spread(const std::vector<double>& values) {
  if (values.empty()) return {};
  double sum = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  if (values.size() < 2) return {mean, std::nullopt};
  // Of equal values the mean may be a rounding away.
  if (std::count(values.begin(), values.end(), values[0]) == std::ssize(values)) {
    return {values[0], 0.};
  }
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / static_cast<double>(values.size() - 1))};
}

double MeanOverHeads(const HeadRecord& record) {
  double sum = 0, count = 0;
  for (const std::vector<double>& heads : record.layers) {
    for (const double value : heads) {
      if (std::isnan(value)) continue;
      sum += value;
      ++count;
    }
  }
  return count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / count;
}

double LargestOverHeads(const HeadRecord& record) {
  double largest = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& heads : record.layers) {
    for (const double value : heads) {
      if (!(value <= largest) && !std::isnan(value)) largest = value;
    }
  }
  return largest;
}

int64_t MiddleLayer(const ReportRun& run) {
  int64_t layers = 0;
  const std::string prefix = "bigram_backcopy.layer_";
  for (auto found = run.series.lower_bound(prefix);
       found != run.series.end() && absl::StartsWith(found->first, prefix); ++found) {
    int64_t layer = 0;
    const std::string rest = found->first.substr(prefix.size());
    if (absl::SimpleAtoi(rest.substr(0, rest.find('.')), &layer)) {
      layers = std::max(layers, layer + 1);
    }
  }
  return layers / 2;
}

Summary Summarize(const std::vector<ReportRun>& runs) {
  const std::vector<MeasuredColumn> columns = AllColumns(runs);
  std::vector<SummaryRow> rows;
  for (size_t i = 0; i < runs.size(); ++i) {
    rows.push_back(RowOf(runs[i], static_cast<int>(i), columns));
  }
  for (const std::vector<size_t>& members : SeedGroups(runs)) {
    if (members.size() > 1) rows.push_back(GroupRow(rows, members));
  }
  Summary summary;
  summary.rows = rows;
  for (SummaryRow& row : summary.rows) row.values.clear(), row.deviations.clear();
  for (size_t column = 0; column < columns.size(); ++column) {
    const bool some = std::any_of(rows.begin(), rows.end(), [&](const SummaryRow& row) {
      return row.values[column].has_value();
    });
    if (!some) continue;
    summary.columns.push_back(columns[column].column);
    for (size_t i = 0; i < rows.size(); ++i) {
      summary.rows[i].values.push_back(rows[i].values[column]);
      summary.rows[i].deviations.push_back(rows[i].deviations[column]);
    }
  }
  return summary;
}

}  // namespace sluice
