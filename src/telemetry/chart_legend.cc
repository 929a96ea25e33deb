#include "telemetry/chart_legend.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sluice {
namespace {

constexpr const char* kColours[] = {"#d1495b", "#1f77b4", "#2a9d4a", "#e09f3e",
                                    "#8457a8", "#6c757d", "#00a6a6", "#b56576"};
constexpr const char* kDashes[] = {"", "6 4", "1 4", "8 4 1 4"};  // of every eight lines' colours
constexpr double kRowHeight = 18, kNarrowestColumn = 110, kCharacterWidth = 7;  // pixels

// Colour and dash of the line with the n-th label.
std::string NthStroke(size_t n) {
  const char* dash = kDashes[n / std::size(kColours) % std::size(kDashes)];
  return absl::StrCat("stroke=\"", kColours[n % std::size(kColours)], "\"",
                      *dash == 0 ? "" : absl::StrCat(" stroke-dasharray=\"", dash, "\""));
}

}  // namespace

ChartLegend::ChartLegend(const LineChart& chart, double width) {
  size_t longest = 0;
  for (const ChartLine& line : chart.lines) {
    if (std::find(labels_.begin(), labels_.end(), line.label) != labels_.end()) continue;
    labels_.push_back(line.label);
    longest = std::max(longest, line.label.size());
  }
  const double wanted =
      std::max(kNarrowestColumn, 30 + kCharacterWidth * static_cast<double>(longest));
  columns_ = std::max<size_t>(1, static_cast<size_t>(width / wanted));
  column_width_ = width / static_cast<double>(columns_);
}

double ChartLegend::further_height() const {
  const size_t further_rows = labels_.empty() ? 0 : (labels_.size() - 1) / columns_;
  return kRowHeight * static_cast<double>(further_rows);
}

std::string ChartLegend::StrokeOf(const std::string& label) const {
  return NthStroke(std::find(labels_.begin(), labels_.end(), label) - labels_.begin());
}

void ChartLegend::Draw(double left, double top, std::string* svg) const {
  for (size_t i = 0; i < labels_.size(); ++i) {
    const size_t row = i / columns_, column = i % columns_;
    const double x = left + column_width_ * static_cast<double>(column);
    const double y = top + kRowHeight * static_cast<double>(row);
    absl::StrAppend(svg, "<path class=\"line\" ", NthStroke(i),
                    absl::StrFormat(" d=\"M%.0f %.0fh16\"/><text x=\"%.0f\" y=\"%.0f\">%s</text>\n",
                                    x, y - 4, x + 20, y, EscapeMarkup(labels_[i])));
  }
}

}  // namespace sluice
