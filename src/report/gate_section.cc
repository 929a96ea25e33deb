// What gates did: maps over training, histograms, means by head and by token class.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "report/head_map.h"
#include "report/heat_picture.h"
#include "report/html_table.h"
#include "report/page_section.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

constexpr int64_t kMostColumns = 120;

std::string RunFigure(const ReportRun& run, int style, const std::string& what,
                      const std::string& picture) {
  return absl::StrFormat(
      "<figure class=\"r%d\"><figcaption>%s<strong>%s</strong> %s</figcaption>\n%s</figure>\n",
      style, RunSample(style), EscapeMarkup(run.name), EscapeMarkup(what), picture);
}

std::string ColourBar() {
  std::vector<double> values;
  for (int i = 0; i < 64; ++i) values.push_back((i + .5) / 64);
  return absl::StrCat("<span class=\"bar\">0 <img alt=\"from transparent to full colour\" src=\"",
                      HeatPicture({values}, HeatScale::kLinear), "\"/> 1</span>");
}

std::vector<HeadRecord> OfCheckpoints(const std::vector<CheckpointGates>& checkpoints) {
  std::vector<HeadRecord> records;
  for (const CheckpointGates& checkpoint : checkpoints) {
    HeadRecord& record = records.emplace_back();
    record.step = checkpoint.step;
    for (int64_t layer = 0; layer < checkpoint.gates.layers; ++layer) {
      std::vector<double>& heads = record.layers.emplace_back();
      for (int64_t head = 0; head < checkpoint.gates.heads; ++head) {
        const GateCell& cell = checkpoint.gates.cell(layer, head);
        heads.push_back(cell.count > 0 ? cell.mean : std::numeric_limits<double>::quiet_NaN());
      }
    }
  }
  return records;
}

// One map a run of a quantity in [0, 1].
std::string Maps(const std::vector<ReportRun>& runs, const std::string& name,
                 const std::string& id) {
  std::string figures;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto found = runs[i].heads.find(name);
    std::vector<HeadRecord> records;
    std::string source = name;
    if (found != runs[i].heads.end()) {
      records = found->second;
    } else if (name == "gates.mean") {
      records = OfCheckpoints(runs[i].gates);
      source = "gates.h5 of the checkpoints";
    }
    if (records.empty()) continue;
    const std::string picture =
        DrawHeadMap(MakeHeadMap(records, kMostColumns),
                    absl::StrCat(name, " of each head over training, ", runs[i].name),
                    absl::StrCat(id, "-", i));
    if (picture.empty()) continue;
    absl::StrAppend(&figures, RunFigure(runs[i], static_cast<int>(i), source, picture));
  }
  if (figures.empty()) return "";
  return absl::StrCat("<div class=\"charts\">\n", figures, "</div>\n");
}

struct HistogramFrame {
  double cell_width, cell_height = 34, left = 24, top = 16;
};

std::string BarsOf(const GateCell& cell, const HistogramFrame& frame, double x, double y) {
  const int64_t highest = *std::max_element(cell.histogram.begin(), cell.histogram.end());
  const double bin = (frame.cell_width - 4) / kGateHistogramBins, room = frame.cell_height - 6;
  std::string path = absl::StrFormat("M%.1f %.1f", x, y);
  for (int i = 0; i < kGateHistogramBins; ++i) {
    const double share = static_cast<double>(cell.histogram[i]) / static_cast<double>(highest);
    const double height = cell.histogram[i] == 0 ? 0 : std::max(.8, share * room);
    absl::StrAppendFormat(&path, "V%.1fH%.1f", y - height, x + (i + 1) * bin);
  }
  return absl::StrFormat("%sV%.1fz", path, y);
}

std::string CellTitle(const GateCell& cell, int64_t layer, int64_t head) {
  return absl::StrFormat(
      "head %d.%d: mean %.4f, deviation %.4f, %.1f %% below 0.05, %.1f %% above 0.95", layer, head,
      cell.mean, cell.deviation(), 100 * cell.share_below(), 100 * cell.share_above());
}

std::string Histograms(const GateStatistics& gates, const std::string& title) {
  const HistogramFrame frame = {std::clamp(396. / static_cast<double>(gates.heads), 28., 110.)};
  const double width =
      std::max(420., frame.left + frame.cell_width * static_cast<double>(gates.heads));
  const double height = frame.top + frame.cell_height * static_cast<double>(gates.layers) + 2;
  std::string svg = absl::StrFormat(
      "<svg class=\"histograms\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n",
      width, height, EscapeMarkup(title));
  for (int64_t head = 0; head < gates.heads; ++head) {
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"11\" text-anchor=\"middle\">%d</text>",
                          frame.left + (static_cast<double>(head) + .5) * frame.cell_width, head);
  }
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    const double base = frame.top + static_cast<double>(layer + 1) * frame.cell_height;
    absl::StrAppendFormat(&svg, "\n<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%d</text>",
                          frame.left - 6, base - frame.cell_height / 2 + 6, layer);
    for (int64_t head = 0; head < gates.heads; ++head) {
      const GateCell& cell = gates.cell(layer, head);
      const double x = frame.left + static_cast<double>(head) * frame.cell_width;
      absl::StrAppendFormat(&svg, "<path class=\"grid\" d=\"M%.1f %.1fh%.1f\"/>", x, base,
                            frame.cell_width - 4);
      if (cell.count == 0) continue;
      absl::StrAppendFormat(&svg, "<path class=\"bars\" d=\"%s\"><title>%s</title></path>",
                            BarsOf(cell, frame, x, base), CellTitle(cell, layer, head));
    }
  }
  return absl::StrCat(svg, "</svg>\n");
}

std::string AllHistograms(const std::vector<ReportRun>& runs) {
  std::string figures;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].gates.empty()) continue;
    const CheckpointGates& newest = runs[i].gates.back();
    const std::string picture =
        Histograms(newest.gates, absl::StrCat("histograms of the gates of ", runs[i].name,
                                              ", rows are layers, columns heads"));
    absl::StrAppend(&figures, RunFigure(runs[i], static_cast<int>(i),
                                        absl::StrCat("checkpoint of step ", newest.step), picture));
  }
  if (figures.empty()) return "";
  return absl::StrCat(
      "<h3>Histograms</h3>\n<p>A row a layer, a column a head; each from gate 0 to gate 1 in 64 "
      "bins, as high as its fullest bin. Gates of all tokens since the checkpoint before "
      "(gates.h5).</p>\n<div class=\"charts\">\n",
      figures, "</div>\n");
}

// Mean over layers and heads, weighted by the gates that were counted.
std::optional<double> ClassMean(const GateStatistics& gates, const std::string& name) {
  for (int64_t k = 0; k < gates.classes(); ++k) {
    if (gates.token_classes[k] != name) continue;
    double sum = 0, count = 0;
    for (int64_t layer = 0; layer < gates.layers; ++layer) {
      for (int64_t head = 0; head < gates.heads; ++head) {
        const GateCell& cell = gates.cell(layer, head, k);
        sum += cell.mean * static_cast<double>(cell.count);
        count += static_cast<double>(cell.count);
      }
    }
    if (count > 0) return sum / count;
  }
  return std::nullopt;
}

std::string ClassTable(const std::vector<ReportRun>& runs) {
  HtmlTable table = {.id = "gate-classes",
                     .caption = "Mean gate by token class, newest checkpoint",
                     .header = {{"run", {}, ""}, {"step", {}, ""}},
                     .rows = {}};
  std::vector<std::string> classes;
  for (const ReportRun& run : runs) {
    if (run.gates.empty()) continue;
    const GateStatistics& gates = run.gates.back().gates;
    for (const std::string& name : gates.token_classes) {
      if (!ClassMean(gates, name).has_value()) continue;  // no such token was counted
      if (std::find(classes.begin(), classes.end(), name) == classes.end()) classes.push_back(name);
    }
  }
  for (const std::string& name : classes) table.header.push_back({name, {}, ""});
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].gates.empty()) continue;
    const CheckpointGates& newest = runs[i].gates.back();
    TableRow& row = table.rows.emplace_back(TableRow{.style = static_cast<int>(i), .cells = {}});
    row.cells = {{runs[i].name, {}, ""}, NumberCell(static_cast<double>(newest.step))};
    for (const std::string& name : classes) {
      row.cells.push_back(NumberCell(ClassMean(newest.gates, name)));
    }
  }
  return table.rows.empty() ? "" : TableMarkup(table);
}

// Mean gate of each head, a column a run.
std::string HeadTable(const std::vector<ReportRun>& runs) {
  HtmlTable table = {.id = "gate-heads",
                     .caption = "Mean gate of each head, newest checkpoint",
                     .header = {{"layer.head", {}, ""}},
                     .rows = {}};
  int64_t layers = 0, heads = 0;
  std::vector<std::pair<int, const GateStatistics*>> columns;  // run
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].gates.empty()) continue;
    const GateStatistics& gates = runs[i].gates.back().gates;
    columns.emplace_back(static_cast<int>(i), &gates);
    table.header.push_back(OfRun({runs[i].name, {}, ""}, columns.back().first));
    layers = std::max(layers, gates.layers);
    heads = std::max(heads, gates.heads);
  }
  for (int64_t i = 0; i < layers * heads; ++i) {
    const int64_t layer = i / heads, head = i % heads;
    TableRow& row = table.rows.emplace_back();
    row.cells.push_back({absl::StrCat(layer, ".", head), {}, ""});
    for (const auto& [run, gates] : columns) {
      const bool has = layer < gates->layers && head < gates->heads &&
                       gates->cell(layer, head).count > 0;  // a layer may be without gates
      row.cells.push_back(OfRun(
          NumberCell(has ? std::optional(gates->cell(layer, head).mean) : std::nullopt), run));
    }
  }
  if (table.rows.empty()) return "";
  return absl::StrCat("<details><summary>Mean gate of each head as numbers</summary>\n",
                      TableMarkup(table), "</details>\n");
}

}  // namespace

PageSection GateSection(const std::vector<ReportRun>& runs) {
  PageSection section = {.id = "gates", .title = "Gates", .markup = {}};
  const std::string maps = Maps(runs, "gates.mean", "gate-map");
  if (!maps.empty()) {
    absl::StrAppend(&section.markup,
                    "<h3>Mean gate over training</h3>\n<p>A row a head (layer.head), a column a "
                    "record; ",
                    ColourBar(), ".</p>\n", maps);
  }
  absl::StrAppend(&section.markup, AllHistograms(runs), ClassTable(runs), HeadTable(runs));
  return section;
}

PageSection SinkMapSection(const std::vector<ReportRun>& runs) {
  PageSection section = {.id = "sink-maps", .title = "Sinks by head", .markup = {}};
  const std::string maps = Maps(runs, "attention.mass_on_first", "sink-map");
  if (maps.empty()) return section;
  section.markup = absl::StrCat(
      "<p>Attention mass on the first position over training: a row a head (layer.head), a column "
      "a record; ",
      ColourBar(), ".</p>\n", maps);
  return section;
}

}  // namespace sluice
