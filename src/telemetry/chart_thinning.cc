#include "telemetry/chart_thinning.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace sluice {
namespace {

// Points [begin, end) are one column's.
void KeepOfColumn(const ChartPoints& points, size_t begin, size_t end, ChartPoints& kept) {
  size_t lowest = begin, highest = begin;
  for (size_t i = begin; i < end; ++i) {
    if (points[i].second < points[lowest].second) lowest = i;
    if (points[i].second > points[highest].second) highest = i;
  }
  size_t wanted[] = {begin, lowest, highest, end - 1};
  std::sort(std::begin(wanted), std::end(wanted));
  const size_t* last = std::unique(std::begin(wanted), std::end(wanted));
  for (const size_t* i = wanted; i != last; ++i) kept.push_back(points[*i]);
}

}  // namespace

ChartPoints ThinPoints(const ChartPoints& points, double column) {
  ChartPoints kept;
  const auto column_of = [&](size_t i) { return std::floor(points[i].first / column); };
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin + 1;
    while (end < points.size() && column_of(end) == column_of(begin)) ++end;
    KeepOfColumn(points, begin, end, kept);
    begin = end;
  }
  return kept;
}

}  // namespace sluice
