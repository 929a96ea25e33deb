// The curves of a report.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "report/page_section.h"
#include "report/summary.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

// A logarithmic axis helps where values of both ends are to be read.
constexpr double kLogarithmicFrom = 20;  // largest over smallest

enum class Of { kSeries, kMeanOfHeads, kLargestOfHeads, kMiddleLayer };
enum class Axis { kFromZero, kAsItIs, kAutomatic };  // automatic: logarithmic where it helps

struct Curve {
  const char *title, *unit;
  Of of;
  std::string name;  // of the series
  Axis axis = Axis::kAsItIs;
};

ReportPoints PointsOf(const ReportRun& run, const Curve& curve) {
  if (curve.of == Of::kSeries || curve.of == Of::kMiddleLayer) {
    const std::string name =
        curve.of == Of::kSeries
            ? curve.name
            : absl::StrCat("bigram_backcopy.layer_", MiddleLayer(run), ".", curve.name);
    const auto found = run.series.find(name);
    return found == run.series.end() ? ReportPoints() : found->second;
  }
  ReportPoints points;
  const auto found = run.heads.find(curve.name);
  if (found == run.heads.end()) return points;
  for (const HeadRecord& record : found->second) {
    points.emplace_back(static_cast<double>(record.step), curve.of == Of::kMeanOfHeads
                                                              ? MeanOverHeads(record)
                                                              : LargestOverHeads(record));
  }
  return points;
}

bool LogarithmicHelps(const std::vector<ChartLine>& lines) {
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (const ChartLine& line : lines) {
    for (const auto& [step, value] : line.points) {
      if (!std::isfinite(value)) continue;
      if (value <= 0) return false;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  return high > low * kLogarithmicFrom;
}

std::string FieldOf(const Curve& curve) {
  switch (curve.of) {
    case Of::kSeries:
      return curve.name;
    case Of::kMeanOfHeads:
      return curve.name + ", mean over layers and heads";
    case Of::kLargestOfHeads:
      return curve.name + ", largest of all heads";
    case Of::kMiddleLayer:
      return "bigram_backcopy.layer_N." + curve.name + ", middle layer";
  }
  return "";
}

// Empty where no run has it.
std::string Figure(const std::vector<ReportRun>& runs, const Curve& curve, const std::string& id,
                   ChartScale::Kind steps) {
  LineChart chart = {.title = curve.title,
                     .lines = {},
                     .step_scale = steps,
                     .from_zero = curve.axis == Axis::kFromZero};
  for (size_t i = 0; i < runs.size(); ++i) {
    ReportPoints points = PointsOf(runs[i], curve);
    if (points.empty()) continue;
    chart.lines.push_back(
        {.label = runs[i].name, .points = std::move(points), .style = static_cast<int>(i)});
  }
  if (chart.lines.empty()) return "";
  chart.logarithmic = curve.axis == Axis::kAutomatic && LogarithmicHelps(chart.lines);
  return absl::StrFormat(
      "<figure><figcaption><strong>%s</strong>%s%s%s <code>%s</code></figcaption>\n%s</figure>\n",
      EscapeMarkup(curve.title), *curve.unit == 0 ? "" : ", ", EscapeMarkup(curve.unit),
      chart.logarithmic ? ", logarithmic" : "", EscapeMarkup(FieldOf(curve)),
      DrawEmbeddedLineChart(chart, id));
}

PageSection Section(const std::vector<ReportRun>& runs, const std::string& id,
                    const std::string& title, const std::vector<Curve>& curves,
                    ChartScale::Kind steps = ChartScale::Kind::kLinear) {
  PageSection section = {.id = id, .title = title, .markup = {}};
  std::string figures;
  for (size_t i = 0; i < curves.size(); ++i) {
    absl::StrAppend(&figures, Figure(runs, curves[i], absl::StrCat(id, "-", i), steps));
  }
  if (!figures.empty()) {
    section.markup = absl::StrCat("<div class=\"charts\">\n", figures, "</div>\n");
  }
  return section;
}

// PREFIX.DATA.FIELD of any run, for each data set.
std::vector<std::string> SeriesLike(const std::vector<ReportRun>& runs, const std::string& prefix,
                                    const std::string& ending) {
  std::set<std::string> names;
  for (const ReportRun& run : runs) {
    for (const auto& [name, points] : run.series) {
      if (absl::StartsWith(name, prefix) && absl::EndsWith(name, ending)) names.insert(name);
    }
  }
  return {names.begin(), names.end()};
}

PageSection TrainingSection(const std::vector<ReportRun>& runs) {
  std::vector<Curve> curves = {{"Loss", "nats", Of::kSeries, "train.loss", Axis::kAutomatic}};
  for (const std::string& name : SeriesLike(runs, "evaluation.", ".perplexity")) {
    curves.push_back({"Validation perplexity", "", Of::kSeries, name, Axis::kAutomatic});
  }
  for (const Curve& curve :
       {Curve{"Accuracy", "share of targets", Of::kSeries, "train.accuracy", Axis::kFromZero},
        Curve{"Throughput", "tokens/s", Of::kSeries, "train.tokens_per_s", Axis::kFromZero},
        Curve{"Learning rate", "", Of::kSeries, "train.learning_rate", Axis::kFromZero},
        Curve{"Gradient norm", "before clipping", Of::kSeries, "train.gradient_norm",
              Axis::kAutomatic},
        Curve{"Mean gate", "last micro-batch", Of::kSeries, "train.gate_mean", Axis::kFromZero},
        Curve{"Loss scale", "fp16", Of::kSeries, "train.loss_scale", Axis::kAutomatic}}) {
    curves.push_back(curve);
  }
  return Section(runs, "training", "Training", curves);
}

PageSection SinkSection(const std::vector<ReportRun>& runs) {
  return Section(
      runs, "sink", "Attention sink and value norms",
      {{"Attention mass on the first position", "mean", Of::kMeanOfHeads, "attention.mass_on_first",
        Axis::kFromZero},
       {"… in the head that has most", "", Of::kLargestOfHeads, "attention.mass_on_first",
        Axis::kFromZero},
       {"Attention mass on special tokens", "mean", Of::kMeanOfHeads, "attention.mass_on_special",
        Axis::kFromZero},
       {"Attention mass on the strongest column", "mean", Of::kMeanOfHeads,
        "attention.mass_on_strongest", Axis::kFromZero},
       {"Attention mass on registers", "mean", Of::kMeanOfHeads, "attention.mass_on_registers",
        Axis::kFromZero},
       {"Attention mass on the learned sink token", "mean", Of::kMeanOfHeads,
        "attention.mass_on_sink_token", Axis::kFromZero},
       {"Attention mass on the learned sink logit", "mean", Of::kMeanOfHeads,
        "attention.mass_on_sink_logit", Axis::kFromZero},
       {"Δlogit to the sink", "mean", Of::kMeanOfHeads, "attention.delta_logit"},
       {"Attention entropy", "nats, mean", Of::kMeanOfHeads, "attention.entropy", Axis::kFromZero},
       {"Value norm of the sink over the others'", "mean", Of::kMeanOfHeads,
        "attention.value_norm_ratio", Axis::kFromZero},
       {"Gate", "mean", Of::kMeanOfHeads, "gates.mean", Axis::kFromZero},
       {"Gates below 0.05", "share", Of::kMeanOfHeads, "gates.share_below", Axis::kFromZero},
       {"Gates above 0.95", "share", Of::kMeanOfHeads, "gates.share_above", Axis::kFromZero},
       {"Gate entropy", "mean", Of::kMeanOfHeads, "gates.entropy", Axis::kFromZero}});
}

PageSection OutlierSection(const std::vector<ReportRun>& runs) {
  return Section(runs, "outliers", "Outliers",
                 {{"Largest |x|", "of all observed tensors", Of::kSeries, "activations.max_abs",
                   Axis::kAutomatic},
                  {"Largest kurtosis", "rows are sequences", Of::kSeries,
                   "activations.kurtosis_per_sequence", Axis::kAutomatic},
                  {"Mean kurtosis", "over tensors, rows are sequences", Of::kSeries,
                   "activations.mean_kurtosis_per_sequence", Axis::kAutomatic},
                  {"Largest kurtosis", "rows are tokens", Of::kSeries,
                   "activations.kurtosis_per_token", Axis::kAutomatic},
                  {"Top channel's share", "largest of all observed tensors", Of::kSeries,
                   "activations.top_channel_share", Axis::kFromZero}});
}

PageSection GapSection(const std::vector<ReportRun>& runs) {
  std::vector<Curve> curves;
  for (const std::string& name : SeriesLike(runs, "quantization.", ".gap")) {
    curves.push_back({"Quantization gap", "perplexity", Of::kSeries, name, Axis::kAutomatic});
  }
  for (const std::string& name : SeriesLike(runs, "quantization.", ".quantized_perplexity")) {
    curves.push_back({"Quantized perplexity", "", Of::kSeries, name, Axis::kAutomatic});
  }
  return Section(runs, "gap", "Quantization while training", curves);
}

PageSection NormSection(const std::vector<ReportRun>& runs) {
  return Section(
      runs, "norms", "Gradient and update norms",
      {{"Gradient", "L2 of all parameters", Of::kSeries, "norms.gradient", Axis::kAutomatic},
       {"Update", "L2 of all parameters", Of::kSeries, "norms.update", Axis::kAutomatic},
       {"Weights", "L2 of all parameters", Of::kSeries, "norms.weight"},
       {"Update over weights", "L2 ratio", Of::kSeries, "norms.update_over_weight",
        Axis::kAutomatic}});
}

PageSection BackcopySection(const std::vector<ReportRun>& runs) {
  return Section(
      runs, "backcopy", "Bigram-Backcopy",
      {{"Backcopy risk", "nats", Of::kSeries, "bigram_backcopy.backcopy_risk", Axis::kAutomatic},
       {"Bigram risk", "nats", Of::kSeries, "bigram_backcopy.bigram_risk", Axis::kAutomatic},
       {"Attention to <s>", "mean over queries", Of::kMiddleLayer, "attention_to_start",
        Axis::kFromZero},
       {"Attention to triggers", "", Of::kMiddleLayer, "attention_to_triggers", Axis::kFromZero},
       {"Attention entropy", "nats", Of::kMiddleLayer, "attention_entropy", Axis::kFromZero},
       {"Δlogit of <s>", "mean over token types", Of::kMiddleLayer, "delta_logit_type"},
       {"Value norm ‖v‖ of <s>", "", Of::kMiddleLayer, "value_norm_start", Axis::kFromZero},
       {"Output value norm ‖W_O v‖ of <s>", "", Of::kMiddleLayer, "output_value_norm_start",
        Axis::kFromZero},
       {"‖W_O v‖ of <s> over the others'", "", Of::kMiddleLayer, "value_ratio", Axis::kFromZero},
       {"Residual norm at <s>", "", Of::kMiddleLayer, "residual_norm_start", Axis::kAutomatic},
       {"Gate of non-trigger queries", "mean", Of::kMiddleLayer, "gate_non_trigger",
        Axis::kFromZero},
       {"Gate of trigger queries", "mean", Of::kMiddleLayer, "gate_trigger", Axis::kFromZero}},
      ChartScale::Kind::kStep);
}

}  // namespace

std::vector<PageSection> CurveSections(const std::vector<ReportRun>& runs) {
  return {TrainingSection(runs), SinkSection(runs), OutlierSection(runs),
          GapSection(runs),      NormSection(runs), BackcopySection(runs)};
}

}  // namespace sluice
