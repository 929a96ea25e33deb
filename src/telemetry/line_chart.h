// Curves over training steps as static SVG: no script, no network, light and dark. Long curves are
// thinned (telemetry/chart_thinning.h); text is escaped.
//
//   const std::string svg = DrawLineChart({.title = "attention to <s>", .lines = {…}});
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "telemetry/chart_scale.h"

namespace sluice {

struct ChartLine {
  std::string label;  // lines of one label share a colour and an entry of the legend
  // Step >= 0, value; rising steps. Where a value is not finite the line has a gap.
  std::vector<std::pair<double, double>> points;
  int style = -1;  // embedded charts: colour, dash and marker, and the class that hides it
};

struct LineChart {
  std::string title;
  bool logarithmic = false;  // values; what is not positive is left out
  std::vector<ChartLine> lines;
  ChartScale::Kind step_scale = ChartScale::Kind::kStep;
  bool from_zero = true;  // a linear axis of values begins at 0 unless values are below
};

// A file of its own, with a legend.
std::string DrawLineChart(const LineChart& chart);

// For a page that has the legend and the style sheet: a line of style n is in a group of class rN,
// its path has the classes line, cN (colour) and dN (dash), and each of few points a marker; grid
// and text have the classes of DrawLineChart. `id` is unique in the page. The
// title is not drawn but is the picture's name; its description has each line's first and last
// value. data-x and data-y hold kind, low, high, and the pixels of both, for scripts.
std::string DrawEmbeddedLineChart(const LineChart& chart, absl::string_view id);

// How many colours, dashes and markers there are: style n has colour n % kChartColours ….
inline constexpr int kChartColours = 8;
inline constexpr int kChartDashes = 5;
inline constexpr int kChartMarkers = 5;
// The path of marker n % kChartMarkers around (x, y).
std::string ChartMarkerPath(int style, double x, double y);

// Text as element content or attribute value of SVG and HTML. Bytes that are not UTF-8 and control
// characters become U+FFFD.
std::string EscapeMarkup(absl::string_view text);

}  // namespace sluice
