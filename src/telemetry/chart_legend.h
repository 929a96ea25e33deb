// What stands below a chart that is a file of its own: each label once, with its line's colour and
// dash, in as many rows as it takes.
//
//   const ChartLegend legend(chart, /*width=*/560);
//   … legend.further_height() more pixels at the bottom … legend.Draw(left, top, &svg);
#pragma once

#include <string>
#include <vector>

#include "telemetry/line_chart.h"

namespace sluice {

class ChartLegend {
 public:
  // `width` in pixels, of all columns together.
  ChartLegend(const LineChart& chart, double width);

  // Pixels of the rows behind the first.
  double further_height() const;
  // Attributes of the lines of a label of the chart's: eight colours, dashed differently from the
  // ninth on.
  std::string StrokeOf(const std::string& label) const;
  // Appends the entries; (left, top) in pixels is where the baseline of the first begins.
  void Draw(double left, double top, std::string* svg) const;

 private:
  std::vector<std::string> labels_;  // each once
  size_t columns_ = 1;
  double column_width_ = 0;
};

}  // namespace sluice
