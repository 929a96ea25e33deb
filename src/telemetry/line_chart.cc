#include "telemetry/line_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace sluice {
namespace {

constexpr double kWidth = 640, kHeight = 360, kLeft = 64, kRight = 16, kTop = 36, kBottom = 64;
constexpr const char* kColours[] = {"#d1495b", "#1f77b4", "#2a9d4a", "#e09f3e",
                                    "#8457a8", "#6c757d", "#00a6a6", "#b56576"};

double OfStep(double step) { return std::log10(step + 20); }

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

struct Axes {
  double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
  bool logarithmic = false;
  bool Shown(double value) const { return std::isfinite(value) && (!logarithmic || value > 0); }
  double OfValue(double value) const { return logarithmic ? std::log10(value) : value; }
  double X(double step) const {
    return kLeft + (OfStep(step) - x_low) / (x_high - x_low) * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    return kHeight - kBottom -
           (OfValue(value) - y_low) / (y_high - y_low) * (kHeight - kTop - kBottom);
  }
};

Axes FitAxes(const LineChart& chart) {
  const double infinity = std::numeric_limits<double>::infinity();
  Axes axes = {infinity, -infinity, infinity, -infinity, chart.logarithmic};
  for (const ChartLine& line : chart.lines) {
    for (const auto& [step, value] : line.points) {
      if (!axes.Shown(value)) continue;
      axes.x_low = std::min(axes.x_low, OfStep(step));
      axes.x_high = std::max(axes.x_high, OfStep(step));
      axes.y_low = std::min(axes.y_low, axes.OfValue(value));
      axes.y_high = std::max(axes.y_high, axes.OfValue(value));
    }
  }
  if (!chart.logarithmic) axes.y_low = std::min(axes.y_low, 0.0);
  if (!std::isfinite(axes.x_low)) return {0, 1, 0, 1, chart.logarithmic};
  if (axes.x_high <= axes.x_low) axes.x_high = axes.x_low + 1;
  if (axes.y_high <= axes.y_low) axes.y_high = axes.y_low + 1;
  return axes;
}

void AddTick(const std::string& from, const std::string& to, const std::string& label,
             std::string* svg) {
  absl::StrAppend(svg, "<path class=\"grid\" d=\"M", from, "L", to, "\"/>", label, "\n");
}

void AddGrid(const Axes& axes, std::string* svg) {
  const double right = kWidth - kRight, bottom = kHeight - kBottom;
  for (double step : {0., 20., 100., 300., 1000., 3000., 10000., 30000., 100000.}) {
    if (OfStep(step) < axes.x_low - 1e-9 || OfStep(step) > axes.x_high + 1e-9) continue;
    const double x = axes.X(step);
    AddTick(absl::StrFormat("%.1f %.1f", x, kTop), absl::StrFormat("%.1f %.1f", x, bottom),
            absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.0f</text>", x,
                            bottom + 16, step),
            svg);
  }
  for (int tick = 0; tick <= 4; ++tick) {
    const double at = axes.y_low + tick * (axes.y_high - axes.y_low) / 4;
    const double value = axes.logarithmic ? std::pow(10, at) : at, y = axes.Y(value);
    AddTick(absl::StrFormat("%.1f %.1f", kLeft, y), absl::StrFormat("%.1f %.1f", right, y),
            absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>",
                            kLeft - 6, y + 4, value),
            svg);
  }
}

void AddLine(const Axes& axes, const ChartLine& line, const char* colour, std::string* svg) {
  std::string path;
  for (const auto& [step, value] : line.points) {
    if (!axes.Shown(value)) continue;
    absl::StrAppend(&path, path.empty() ? "M" : "L",
                    absl::StrFormat("%.1f %.1f", axes.X(step), axes.Y(value)));
  }
  if (path.empty()) return;
  absl::StrAppend(svg, "<path class=\"line\" stroke=\"", colour, "\" d=\"", path, "\"/>\n");
}

}  // namespace

std::string DrawLineChart(const LineChart& chart) {
  const Axes axes = FitAxes(chart);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" font-size=\"12\" "
      "font-family=\"sans-serif\">\n"
      "<style>text{fill:#222}.page{fill:#fff}.grid{stroke:#8884;fill:none}.line{fill:none;"
      "stroke-width:1.5}@media(prefers-color-scheme:dark){text{fill:#ddd}.page{fill:#181818}}"
      "</style>\n<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n"
      "<text x=\"%.0f\" y=\"20\" font-size=\"14\">%s</text>\n",
      kWidth, kHeight, kLeft, Escape(chart.title));
  AddGrid(axes, &svg);
  std::vector<std::string> labels;
  for (const ChartLine& line : chart.lines) {
    auto found = std::find(labels.begin(), labels.end(), line.label);
    if (found == labels.end()) found = labels.insert(found, line.label);
    const auto index = static_cast<size_t>(found - labels.begin());
    AddLine(axes, line, kColours[index % std::size(kColours)], &svg);
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    const double x = kLeft + static_cast<double>(i) * 110, y = kHeight - 16;
    absl::StrAppend(
        &svg, "<path class=\"line\" stroke=\"", kColours[i % std::size(kColours)],
        absl::StrFormat("\" d=\"M%.0f %.0fh16\"/><text x=\"%.0f\" y=\"%.0f\">%s</text>\n", x, y - 4,
                        x + 20, y, Escape(labels[i])));
  }
  absl::StrAppend(&svg, "</svg>\n");
  return svg;
}

}  // namespace sluice
