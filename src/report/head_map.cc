#include "report/head_map.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "report/heat_picture.h"
#include "report/html_table.h"
#include "report/summary.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kWidth = 420, kLeft = 46, kRight = 12, kTop = 6, kBottom = 24;
constexpr double kWantedHeight = 360, kLeastRow = 3, kMostRow = 16, kTextHeight = 11;

double Cell(const HeadRecord& record, size_t layer, size_t head) {
  if (layer >= record.layers.size() || head >= record.layers[layer].size()) return kNan;
  return record.layers[layer][head];
}

double MeanOf(const std::vector<HeadRecord>& records, size_t begin, size_t end, size_t layer,
              size_t head) {
  double sum = 0, count = 0;
  for (size_t i = begin; i < end; ++i) {
    const double value = Cell(records[i], layer, head);
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  return count == 0 ? kNan : sum / count;
}

std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>", x, y, anchor,
                         EscapeMarkup(text));
}

// Each row where rows are high enough for a text, else each layer in the middle of its rows.
std::string RowLabels(const HeadMap& map, double row_height) {
  std::string svg;
  if (row_height >= kTextHeight) {
    for (size_t row = 0; row < map.rows.size(); ++row) {
      const double y = kTop + (static_cast<double>(row) + .5) * row_height + 4;
      absl::StrAppend(&svg, Text(kLeft - 5, y, "end", map.rows[row]));
    }
    return svg;
  }
  double top = kTop, last = -kTextHeight;
  for (size_t layer = 0; layer < map.heads_of_layers.size(); ++layer) {
    const double height = static_cast<double>(map.heads_of_layers[layer]) * row_height;
    const double y = top + height / 2 + 4;
    top += height;
    if (height == 0 || y < last + kTextHeight) continue;
    last = y;
    absl::StrAppend(&svg, Text(kLeft - 5, y, "end", absl::StrCat("layer ", layer)));
  }
  return svg;
}

std::string LayerLines(const HeadMap& map, double row_height) {
  std::string path;
  double y = kTop;
  for (const int64_t heads : map.heads_of_layers) {
    y += static_cast<double>(heads) * row_height;
    absl::StrAppendFormat(&path, "M%.1f %.1fH%.1f", kLeft, y, kWidth - kRight);
  }
  return absl::StrCat("<path class=\"grid\" d=\"", path, "\"/>");
}

std::string ColumnLabels(const HeadMap& map, double y) {
  const auto columns = static_cast<double>(map.steps.size());
  const double width = kWidth - kLeft - kRight;
  std::string svg =
      Text(kLeft, y, "start", absl::StrCat("step ", TickLabel(static_cast<double>(map.steps[0]))));
  if (map.steps.size() < 2) return svg;
  if (map.steps.size() > 2) {
    const size_t middle = map.steps.size() / 2;
    const double x = kLeft + (static_cast<double>(middle) + .5) / columns * width;
    absl::StrAppend(&svg, Text(x, y, "middle", TickLabel(static_cast<double>(map.steps[middle]))));
  }
  absl::StrAppend(
      &svg, Text(kWidth - kRight, y, "end", TickLabel(static_cast<double>(map.steps.back()))));
  return svg;
}

std::string NewestValues(const HeadMap& map) {
  std::vector<std::string> texts;
  for (size_t row = 0; row < map.rows.size() && row < 64; ++row) {
    texts.push_back(absl::StrCat(map.rows[row], ": ", NumberText(map.cells[row].back())));
  }
  return absl::StrCat("newest value of each head (layer.head): ", absl::StrJoin(texts, ", "),
                      map.rows.size() > 64 ? ", …" : "");
}

}  // namespace

HeadMap MakeHeadMap(const std::vector<HeadRecord>& records, int64_t columns) {
  HeadMap map;
  size_t layers = 0;
  for (const HeadRecord& record : records) layers = std::max(layers, record.layers.size());
  const size_t count = std::min(records.size(), static_cast<size_t>(columns));
  const auto begin_of = [&](size_t column) { return column * records.size() / count; };
  for (size_t column = 0; column < count; ++column) {
    map.steps.push_back(records[begin_of(column + 1) - 1].step);
  }
  for (size_t layer = 0; layer < layers; ++layer) {
    size_t heads = 0;
    for (const HeadRecord& record : records) {
      if (layer < record.layers.size()) heads = std::max(heads, record.layers[layer].size());
    }
    map.heads_of_layers.push_back(static_cast<int64_t>(heads));
    for (size_t head = 0; head < heads; ++head) {
      map.rows.push_back(absl::StrCat(layer, ".", head));
      std::vector<double>& row = map.cells.emplace_back();
      for (size_t column = 0; column < count; ++column) {
        row.push_back(MeanOf(records, begin_of(column), begin_of(column + 1), layer, head));
      }
    }
  }
  return map;
}

std::string DrawHeadMap(const HeadMap& map, const std::string& title, const std::string& id) {
  if (map.rows.empty() || map.steps.empty()) return "";
  const auto rows = static_cast<double>(map.rows.size());
  const double row_height = std::clamp(kWantedHeight / rows, kLeastRow, kMostRow);
  const double height = rows * row_height, width = kWidth - kLeft - kRight;
  return absl::StrFormat(
      "<svg class=\"map\" viewBox=\"0 0 %.0f %.1f\" role=\"img\" aria-labelledby=\"%s-title\" "
      "aria-describedby=\"%s-text\" data-map=\"%.1f %.1f %.1f %.1f linear\" data-rows=\"%s\" "
      "data-columns=\"%s\">\n<title id=\"%s-title\">%s</title><desc id=\"%s-text\">%s</desc>\n"
      "<image x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" preserveAspectRatio=\"none\" "
      "href=\"%s\"/>\n%s%s%s</svg>\n",
      kWidth, kTop + height + kBottom, id, id, kLeft, kTop, width, height,
      absl::StrJoin(map.rows, " "), absl::StrJoin(map.steps, " "), id, EscapeMarkup(title), id,
      EscapeMarkup(NewestValues(map)), kLeft, kTop, width, height,
      HeatPicture(map.cells, HeatScale::kLinear), LayerLines(map, row_height),
      RowLabels(map, row_height), ColumnLabels(map, kTop + height + 16));
}

}  // namespace sluice
