// Curves over training steps as a static SVG: no script, no network, light and dark.
//
//   const std::string svg = DrawLineChart({.title = "attention to <s>", .lines = {…}});
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace sluice {

struct ChartLine {
  std::string label;  // lines of one label share a colour and an entry of the legend
  std::vector<std::pair<double, double>> points;  // step >= 0, value; rising steps
};

struct LineChart {
  std::string title;
  bool logarithmic = false;  // values; what is not positive is left out
  std::vector<ChartLine> lines;
};

// The step axis is logarithmic in step + 20, so that the beginning can be seen. Text is escaped.
std::string DrawLineChart(const LineChart& chart);

}  // namespace sluice
