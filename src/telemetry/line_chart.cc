#include "telemetry/line_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/utf8.h"
#include "telemetry/chart_legend.h"
#include "telemetry/chart_thinning.h"

namespace sluice {
namespace {

struct ChartFrame {
  double width, height, left, right, top, bottom;
};
constexpr ChartFrame kFileFrame = {640, 360, 64, 16, 36, 64};
constexpr ChartFrame kPageFrame = {420, 240, 52, 18, 10, 24};
constexpr double kColumn = 2;             // pixels
constexpr double kLetter = 6.6;           // pixels, about, of a tick's label
constexpr size_t kMostMarkedPoints = 24;  // longer lines have no markers but the last
constexpr size_t kMostDescribedLines = 40;

struct Axes {
  ChartFrame frame;
  ChartScale steps, values;
  double X(double step) const {
    return frame.left + steps.Fraction(step) * (frame.width - frame.left - frame.right);
  }
  double Y(double value) const {
    return frame.height - frame.bottom -
           values.Fraction(value) * (frame.height - frame.top - frame.bottom);
  }
  bool Has(const std::pair<double, double>& point) const {
    return steps.Has(point.first) && values.Has(point.second);
  }
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

Axes FitAxes(const LineChart& chart, const ChartFrame& frame) {
  const auto kind = chart.logarithmic ? ChartScale::Kind::kLogarithmic : ChartScale::Kind::kLinear;
  const ChartScale any(kind, 1, 2);
  Range steps, values;
  for (const ChartLine& line : chart.lines) {
    for (const auto& [step, value] : line.points) {
      if (!any.Has(value) || !std::isfinite(step)) continue;
      steps.Add(step);
      values.Add(value);
    }
  }
  if (!std::isfinite(steps.low)) {
    const double low = chart.logarithmic ? 1 : 0;
    return {frame, {chart.step_scale, 0, 1}, {kind, low, low + 1}};
  }
  if (!chart.logarithmic && chart.from_zero) values.Add(0);
  return {frame,
          {chart.step_scale, steps.low, steps.high},
          ChartScale::Fit(kind, values.low, values.high)};
}

void AddTick(const std::string& from, const std::string& to, const std::string& label,
             std::string* svg) {
  absl::StrAppend(svg, "<path class=\"grid\" d=\"M", from, "L", to, "\"/>", label, "\n");
}

void AddGrid(const Axes& axes, std::string* svg) {
  const double right = axes.frame.width - axes.frame.right;
  const double bottom = axes.frame.height - axes.frame.bottom;
  // Before the first number, however long that is.
  const std::vector<double> steps = axes.steps.Ticks(5);
  double step_end = axes.frame.left - 10;
  if (!steps.empty()) {
    const double half = kLetter / 2 * static_cast<double>(TickLabel(steps.front()).size());
    step_end = std::min(step_end, axes.X(steps.front()) - half - 4);
  }
  absl::StrAppendFormat(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">step</text>\n",
                        step_end, bottom + 16);
  double last_label = axes.frame.left - 40;  // labels must not touch
  for (const double step : steps) {
    const double x = axes.X(step);
    if (x < last_label + 34) continue;
    last_label = x;
    AddTick(absl::StrFormat("%.1f %.1f", x, axes.frame.top),
            absl::StrFormat("%.1f %.1f", x, bottom),
            absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", x,
                            bottom + 16, TickLabel(step)),
            svg);
  }
  for (const double value : axes.values.Ticks(5)) {
    const double y = axes.Y(value);
    AddTick(absl::StrFormat("%.1f %.1f", axes.frame.left, y),
            absl::StrFormat("%.1f %.1f", right, y),
            absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                            axes.frame.left - 6, y + 4, TickLabel(value)),
            svg);
  }
}

// The pieces of a line between values that are not finite, in pixels, thinned.
std::vector<ChartPoints> PixelsOf(const Axes& axes, const ChartLine& line) {
  std::vector<ChartPoints> pieces(1);
  for (const auto& point : line.points) {
    if (axes.Has(point)) {
      pieces.back().emplace_back(axes.X(point.first), axes.Y(point.second));
    } else if (!std::isfinite(point.second) && !pieces.back().empty()) {
      pieces.emplace_back();
    }
  }
  for (ChartPoints& piece : pieces) piece = ThinPoints(piece, kColumn);
  return pieces;
}

std::string PathOf(const std::vector<ChartPoints>& pieces) {
  std::string path;
  for (const ChartPoints& piece : pieces) {
    for (size_t i = 0; i < piece.size(); ++i) {
      absl::StrAppendFormat(&path, "%s%.1f %.1f", i == 0 ? "M" : "L", piece[i].first,
                            piece[i].second);
    }
  }
  return path;
}

void AddLine(const Axes& axes, const ChartLine& line, const std::string& stroke, std::string* svg) {
  const std::vector<ChartPoints> pieces = PixelsOf(axes, line);
  std::string path = PathOf(pieces);
  if (path.empty()) return;
  for (const ChartPoints& piece : pieces) {  // round ends make a dot of a line without length
    if (piece.size() == 1) {
      absl::StrAppendFormat(&path, "M%.1f %.1fh0", piece[0].first, piece[0].second);
    }
  }
  absl::StrAppend(svg, "<path class=\"line\" ", stroke, " d=\"", path, "\"/>\n");
}

void AddEmbeddedLine(const Axes& axes, const ChartLine& line, std::string* svg) {
  const std::vector<ChartPoints> pieces = PixelsOf(axes, line);
  const std::string path = PathOf(pieces);
  if (path.empty()) return;
  size_t points = 0;
  for (const ChartPoints& piece : pieces) points += piece.size();
  std::string markers;
  for (const ChartPoints& piece : pieces) {
    for (size_t i = 0; i < piece.size(); ++i) {
      const bool last = &piece == &pieces.back() && i + 1 == piece.size();
      const bool alone = piece.size() == 1;  // a line without length is not seen
      if (points > kMostMarkedPoints && !last && !alone) continue;
      absl::StrAppend(&markers, ChartMarkerPath(line.style, piece[i].first, piece[i].second));
    }
  }
  absl::StrAppendFormat(svg,
                        "<g class=\"r%d c%d\" data-run=\"%d\"><title>%s</title>"
                        "<path class=\"line d%d\" d=\"%s\"/><path class=\"mark\" d=\"%s\"/></g>\n",
                        line.style, line.style % kChartColours, line.style,
                        EscapeMarkup(line.label), line.style % kChartDashes, path, markers);
}

std::string Described(const LineChart& chart) {
  std::string text;
  for (size_t i = 0; i < chart.lines.size() && i < kMostDescribedLines; ++i) {
    const ChartLine& line = chart.lines[i];
    if (line.points.empty()) continue;
    absl::StrAppendFormat(&text, "%s%s: %.4g at step %.0f, %.4g at step %.0f", i == 0 ? "" : "; ",
                          line.label, line.points.front().second, line.points.front().first,
                          line.points.back().second, line.points.back().first);
  }
  if (chart.lines.size() > kMostDescribedLines) {
    absl::StrAppend(&text, "; and ", chart.lines.size() - kMostDescribedLines, " more");
  }
  return text;
}

const char* NameOf(ChartScale::Kind kind) {
  switch (kind) {
    case ChartScale::Kind::kLinear:
      return "linear";
    case ChartScale::Kind::kLogarithmic:
      return "logarithmic";
    case ChartScale::Kind::kStep:
      return "step";
  }
  return "";
}

std::string ScaleAttribute(const char* name, const ChartScale& scale, double begin, double end) {
  return absl::StrFormat(" %s=\"%s %.17g %.17g %.1f %.1f\"", name, NameOf(scale.kind()),
                         scale.low(), scale.high(), begin, end);
}

}  // namespace

std::string EscapeMarkup(absl::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool control = first < 0x20 && first != '\t' && first != '\n';
    if (length == 0 || control || first == 0x7F) {
      escaped += "\xEF\xBF\xBD";
    } else if (first == '&') {
      escaped += "&amp;";
    } else if (first == '<') {
      escaped += "&lt;";
    } else if (first == '>') {
      escaped += "&gt;";
    } else if (first == '"') {
      escaped += "&quot;";
    } else if (first == '\'') {
      escaped += "&#39;";
    } else {
      escaped.append(text.data(), length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return escaped;
}

std::string ChartMarkerPath(int style, double x, double y) {
  const std::string at = absl::StrFormat("M%.1f %.1f", x, y);
  switch (style % kChartMarkers) {
    case 0:
      return at + "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z";  // circle
    case 1:
      return at + "m-2.7-2.7h5.4v5.4h-5.4z";  // square
    case 2:
      return at + "m0-3.8l3.6 6.4h-7.2z";  // triangle
    case 3:
      return at + "m0-4l4 4l-4 4l-4-4z";  // diamond
    default:
      return at + "m0 3.8l3.6-6.4h-7.2z";  // triangle downwards
  }
}

std::string DrawLineChart(const LineChart& chart) {
  const ChartLegend legend(chart, kFileFrame.width - kFileFrame.left - kFileFrame.right);
  ChartFrame frame = kFileFrame;
  frame.height += legend.further_height();
  frame.bottom += legend.further_height();
  const Axes axes = FitAxes(chart, frame);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" font-size=\"12\" "
      "font-family=\"sans-serif\">\n"
      "<style>text{fill:#222}.page{fill:#fff}.grid{stroke:#8884;fill:none}.line{fill:none;"
      "stroke-width:1.5;stroke-linecap:round}@media(prefers-color-scheme:dark){text{fill:#ddd}."
      "page{fill:#181818}}"
      "</style>\n<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n"
      "<text x=\"%.0f\" y=\"20\" font-size=\"14\">%s</text>\n",
      axes.frame.width, axes.frame.height, axes.frame.left, EscapeMarkup(chart.title));
  AddGrid(axes, &svg);
  for (const ChartLine& line : chart.lines) {
    AddLine(axes, line, legend.StrokeOf(line.label), &svg);
  }
  legend.Draw(axes.frame.left, kFileFrame.height - 16, &svg);
  absl::StrAppend(&svg, "</svg>\n");
  return svg;
}

std::string DrawEmbeddedLineChart(const LineChart& chart, absl::string_view id) {
  const Axes axes = FitAxes(chart, kPageFrame);
  const ChartFrame& frame = axes.frame;
  std::string svg = absl::StrFormat(
      "<svg class=\"chart\" id=\"%s\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" tabindex=\"0\" "
      "aria-labelledby=\"%s-title\" aria-describedby=\"%s-text\"%s%s>\n"
      "<title id=\"%s-title\">%s</title><desc id=\"%s-text\">%s</desc>\n",
      id, frame.width, frame.height, id, id,
      ScaleAttribute("data-x", axes.steps, frame.left, frame.width - frame.right),
      ScaleAttribute("data-y", axes.values, frame.height - frame.bottom, frame.top), id,
      EscapeMarkup(chart.title), id, EscapeMarkup(Described(chart)));
  AddGrid(axes, &svg);
  for (const ChartLine& line : chart.lines) AddEmbeddedLine(axes, line, &svg);
  absl::StrAppend(&svg, "</svg>\n");
  return svg;
}

}  // namespace sluice
