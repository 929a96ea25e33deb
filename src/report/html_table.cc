#include "report/html_table.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

std::string CellMarkup(const char* tag, const TableCell& cell, const std::string& before) {
  std::string attributes;
  if (cell.number.has_value())
    absl::StrAppendFormat(&attributes, " data-v=\"%.12g\"", *cell.number);
  if (cell.copied.has_value())
    absl::StrAppend(&attributes, " data-v=\"", EscapeMarkup(*cell.copied), "\"");
  if (cell.style >= 0) absl::StrAppend(&attributes, " class=\"r", cell.style, "\"");
  if (!cell.title.empty())
    absl::StrAppend(&attributes, " title=\"", EscapeMarkup(cell.title), "\"");
  const bool header = tag[0] == 't' && tag[1] == 'h';
  return absl::StrCat("<", tag, header ? " scope=\"col\"" : "", attributes, ">", before,
                      EscapeMarkup(cell.text), "</", tag, ">");
}

}  // namespace

std::string NumberText(double value) {
  const double size = std::abs(value);
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return size >= 9999.5 && size < 1e9 ? absl::StrFormat("%.0f", value)
                                      : absl::StrFormat("%.4g", value);
}

TableCell NumberCell(std::optional<double> value) {
  if (!value.has_value()) return {"–", {}, "", ""};
  return {NumberText(*value), *value, ""};
}

TableCell SpreadCell(std::optional<double> mean, std::optional<double> deviation) {
  if (!mean.has_value()) return {"–", {}, "", ""};
  if (!deviation.has_value()) return {NumberText(*mean), *mean, ""};
  return {absl::StrCat(NumberText(*mean), " ± ",
                       *deviation >= 99.5 ? absl::StrFormat("%.0f", *deviation)
                                          : absl::StrFormat("%.2g", *deviation)),
          {},
          "",
          absl::StrFormat("%.12g ± %.12g", *mean, *deviation)};
}

TableCell OfRun(TableCell cell, int style) {
  cell.style = style;
  return cell;
}

std::string RunSample(int style) {
  return absl::StrFormat(
      "<svg class=\"sample c%d\" viewBox=\"0 0 34 12\" aria-hidden=\"true\"><path class=\"line "
      "d%d\" d=\"M1 6h32\"/><path class=\"mark\" d=\"%s\"/></svg>",
      style % kChartColours, style % kChartDashes, ChartMarkerPath(style, 17, 6));
}

std::string TableMarkup(const HtmlTable& table) {
  std::string html = absl::StrFormat(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"%s\"><table id=\"%s\">"
      "<caption>%s</caption>\n<thead><tr>",
      EscapeMarkup(table.caption), table.id, EscapeMarkup(table.caption));
  for (const TableCell& cell : table.header) absl::StrAppend(&html, CellMarkup("th", cell, ""));
  absl::StrAppend(&html, "</tr></thead>\n<tbody>\n");
  for (const TableRow& row : table.rows) {
    absl::StrAppend(&html,
                    row.style < 0 ? "<tr>" : absl::StrCat("<tr class=\"r", row.style, "\">"));
    for (size_t i = 0; i < row.cells.size(); ++i) {
      const bool sample = i == 0 && row.style >= 0;
      absl::StrAppend(&html, CellMarkup("td", row.cells[i], sample ? RunSample(row.style) : ""));
    }
    absl::StrAppend(&html, "</tr>\n");
  }
  return absl::StrCat(html,
                      "</tbody></table></div>\n<div class=\"tools\"><button type=\"button\" "
                      "class=\"copy\" data-table=\"",
                      table.id, "\">Copy as CSV</button></div>\n");
}

}  // namespace sluice
