// Tables of a report: scrollable where they are wide, with a button that copies them as CSV.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace sluice {

struct TableCell {
  std::string text;
  std::optional<double> number;            // what CSV has in place of the text, with all digits
  std::string title;                       // shown when pointed at
  std::optional<std::string> copied = {};  // what CSV has instead, where that is no number
  int style = -1;                          // of the run whose column it is: it hides with it
};

struct TableRow {
  int style = -1;  // of the run whose row it is: first cell gets its line, and it hides with it
  std::vector<TableCell> cells;
};

struct HtmlTable {
  std::string id;  // unique in the page
  std::string caption;
  std::vector<TableCell> header;
  std::vector<TableRow> rows;
};

std::string TableMarkup(const HtmlTable& table);

// A number with four digits ("465.2", "64890", "1.2e-05", "nan"); "–" without one, and nothing in
// CSV.
TableCell NumberCell(std::optional<double> value);
// "465.2 ± 3.1".
TableCell SpreadCell(std::optional<double> mean, std::optional<double> deviation);
std::string NumberText(double value);
// The same cell, of the run of that style.
TableCell OfRun(TableCell cell, int style);

// The piece of line, with marker, that stands for a run.
std::string RunSample(int style);

}  // namespace sluice
