// Long series for charts: fewer points, the same picture.
#pragma once

#include <utility>
#include <vector>

namespace sluice {

using ChartPoints = std::vector<std::pair<double, double>>;  // x, y

// Of points with rising x, those that decide what is drawn in columns of `column` width: of each
// column the first, the lowest, the highest and the last, in their order. No peak is lost, and
// lines between columns stay as they were. Points are finite.
ChartPoints ThinPoints(const ChartPoints& points, double column);

}  // namespace sluice
