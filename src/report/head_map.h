// What each head did over training, as a map: a row a head, a column a record.
#pragma once

#include <string>
#include <vector>

#include "report/report_run.h"

namespace sluice {

struct HeadMap {
  std::vector<std::string> rows;           // "layer.head"
  std::vector<int64_t> heads_of_layers;    // rows of each layer, in order
  std::vector<int64_t> steps;              // of each column: its last record
  std::vector<std::vector<double>> cells;  // row, column; NaN: nothing recorded
};

// At most `columns` of them: where there are more records, a column is the mean of equally many.
HeadMap MakeHeadMap(const std::vector<HeadRecord>& records, int64_t columns);

// SVG of values in [0, 1]. `title` and the newest values are its name and description. Scripts find
// the cells through data-map (left, top, width, height in the picture), data-rows and data-columns.
std::string DrawHeadMap(const HeadMap& map, const std::string& title, const std::string& id);

}  // namespace sluice
