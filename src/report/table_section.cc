// The tables of a report.
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "report/flat_config.h"
#include "report/html_table.h"
#include "report/page_section.h"
#include "report/summary.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

TableCell Text(const std::string& text) { return {text, {}, ""}; }

TableCell StepCell(const SummaryRow& row) {
  TableCell cell = NumberCell(static_cast<double>(row.step));
  cell.text = absl::StrCat(row.step);
  if (row.planned_steps > row.step) {
    absl::StrAppend(&cell.text, " of ", row.planned_steps);
    cell.title = "not finished: the configuration asks for more";
  }
  return cell;
}

std::string SourceList(const std::vector<SummaryColumn>& columns) {
  std::string html = "<details><summary>Where the figures come from</summary><dl>\n";
  for (const SummaryColumn& column : columns) {
    absl::StrAppend(&html, "<dt>", EscapeMarkup(column.title), "</dt><dd>",
                    EscapeMarkup(column.source), "</dd>\n");
  }
  return absl::StrCat(
      html,
      "<dt>mean ± SD</dt><dd>mean and standard deviation over runs whose configurations differ "
      "in nothing but training.seed and name; divisor n − 1</dd>\n</dl></details>\n");
}

// Fields KIND.NAME of one map of each run as a table: a row a name, a column a run.
HtmlTable FieldTable(const std::vector<ReportRun>& runs,
                     std::map<std::string, double> ReportRun::*fields, const std::string& ending,
                     const std::string& beginning) {
  HtmlTable table;
  std::set<std::string> names;
  std::vector<int> columns;  // runs that have them
  table.header.push_back(Text("tensor"));
  const auto matches = [&](const std::string& name) {
    return absl::StartsWith(name, beginning) && absl::EndsWith(name, ending);
  };
  for (size_t i = 0; i < runs.size(); ++i) {
    const ReportRun& run = runs[i];
    if ((run.*fields).empty()) continue;
    columns.push_back(static_cast<int>(i));
    table.header.push_back(OfRun(Text(run.name), columns.back()));
    for (const auto& [name, value] : run.*fields) {
      if (matches(name)) names.insert(name);
    }
  }
  for (const std::string& name : names) {
    TableRow& row = table.rows.emplace_back();
    row.cells.push_back(
        Text(name.substr(beginning.size(), name.size() - beginning.size() - ending.size())));
    for (const int i : columns) {
      const std::map<std::string, double>& values = runs[i].*fields;
      const auto found = values.find(name);
      row.cells.push_back(
          OfRun(found == values.end() ? NumberCell({}) : NumberCell(found->second), i));
    }
  }
  return table;
}

std::string Folded(HtmlTable table, const std::string& id, const std::string& caption) {
  if (table.rows.empty()) return "";
  table.id = id;
  table.caption = caption;
  return absl::StrCat("<details><summary>", EscapeMarkup(caption), "</summary>\n",
                      TableMarkup(table), "</details>\n");
}

}  // namespace

PageSection SummarySection(const std::vector<ReportRun>& runs) {
  const Summary summary = Summarize(runs);
  HtmlTable table = {.id = "summary-table",
                     .caption = "The runs",
                     .header = {Text("run"), Text("variant"), Text("seed"), Text("steps")},
                     .rows = {}};
  for (const SummaryColumn& column : summary.columns) {
    table.header.push_back({column.title, {}, column.source});
  }
  for (const SummaryRow& row : summary.rows) {
    TableRow& cells = table.rows.emplace_back(TableRow{.style = row.style, .cells = {}});
    cells.cells = {Text(row.name), Text(row.variant), Text(row.seed), StepCell(row)};
    for (size_t i = 0; i < row.values.size(); ++i) {
      cells.cells.push_back(SpreadCell(row.values[i], row.deviations[i]));
    }
  }
  return {"summary", "Summary", TableMarkup(table) + SourceList(summary.columns)};
}

PageSection QuantizationSection(const std::vector<ReportRun>& runs) {
  HtmlTable table = {.id = "quantization-table",
                     .caption = "quantize.json of the runs",
                     .header = {Text("run"), Text("data"), Text("bits"), Text("step"),
                                Text("perplexity"), Text("quantized"), Text("gap")},
                     .rows = {}};
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const ReportEvaluation& one : runs[i].quantizations) {
      std::optional<double> gap;
      if (one.perplexity.has_value() && one.quantized_perplexity.has_value()) {
        gap = *one.quantized_perplexity - *one.perplexity;
      }
      table.rows.push_back({static_cast<int>(i),
                            {Text(runs[i].name), Text(one.data), Text(one.bits),
                             NumberCell(static_cast<double>(one.step)), NumberCell(one.perplexity),
                             NumberCell(one.quantized_perplexity), NumberCell(gap)}});
    }
  }
  return {"quantization", "Quantization after training",
          table.rows.empty() ? "" : TableMarkup(table)};
}

PageSection TensorSection(const std::vector<ReportRun>& runs) {
  PageSection section = {.id = "tensors", .title = "By tensor, newest records", .markup = {}};
  const struct {
    const char *field, *caption;
  } activations[] = {{"max_abs", "Largest |x| of each tensor"},
                     {"kurtosis_per_sequence", "Kurtosis of each tensor, rows are sequences"},
                     {"top_channel_share", "Top channel's share of each tensor"}};
  for (const auto& [field, caption] : activations) {
    absl::StrAppend(&section.markup, Folded(FieldTable(runs, &ReportRun::last_activations,
                                                       absl::StrCat(".", field), ""),
                                            absl::StrCat("tensors-", field), caption));
  }
  for (const char* kind : {"gradient", "update", "weight"}) {
    absl::StrAppend(
        &section.markup,
        Folded(FieldTable(runs, &ReportRun::last_norms, "", absl::StrCat(kind, ".")),
               absl::StrCat("norms-", kind), absl::StrCat("L2 norm of each parameter's ", kind)));
  }
  return section;
}

PageSection AlarmSection(const std::vector<ReportRun>& runs) {
  HtmlTable table = {
      .id = "alarm-table",
      .caption = "Alarms, those of one name and place together",
      .header = {Text("run"),
                 Text("alarm"),
                 Text("where"),
                 Text("times"),
                 Text("began first at"),
                 Text("began last at"),
                 Text("over at"),
                 {"largest first value", {}, "when it began: what it grew to is in the charts"},
                 Text("threshold")},
      .rows = {}};
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const ReportAlarm& alarm : runs[i].alarms) {
      const std::optional<double> over =
          alarm.over_step.has_value() ? std::optional<double>(*alarm.over_step) : std::nullopt;
      table.rows.push_back({static_cast<int>(i),
                            {Text(runs[i].name), Text(alarm.name), Text(alarm.where),
                             NumberCell(static_cast<double>(alarm.count)),
                             NumberCell(static_cast<double>(alarm.first_step)),
                             NumberCell(static_cast<double>(alarm.last_step)), NumberCell(over),
                             NumberCell(alarm.largest), NumberCell(alarm.threshold)}});
    }
  }
  return {"alarms", "Alarms", table.rows.empty() ? "" : TableMarkup(table)};
}

PageSection ConfigSection(const std::vector<ReportRun>& runs) {
  PageSection section = {.id = "configuration", .title = "Configurations", .markup = {}};
  std::vector<const FlatConfig*> configs;
  HtmlTable table = {.id = "configuration-table",
                     .caption = "Keys of config.yaml that differ",
                     .header = {Text("key")},
                     .rows = {}};
  for (const ReportRun& run : runs) {
    table.header.push_back(OfRun(Text(run.name), static_cast<int>(configs.size())));
    configs.push_back(&run.config);
  }
  for (const ConfigRow& row : DifferingKeys(configs)) {
    TableRow& cells = table.rows.emplace_back();
    cells.cells.push_back(Text(row.key));
    for (size_t i = 0; i < row.values.size(); ++i) {
      const std::string& value = row.values[i];
      cells.cells.push_back(OfRun(Text(value.empty() ? "–" : value), static_cast<int>(i)));
    }
  }
  if (!table.rows.empty()) {
    section.markup = TableMarkup(table) + "<p>–: the run does not have the key.</p>\n";
  } else if (runs.size() > 1) {
    section.markup = "<p>The configurations do not differ.</p>\n";
  }
  return section;
}

PageSection NoteSection(const std::vector<ReportRun>& runs) {
  PageSection section = {.id = "notes", .title = "Notes", .markup = {}};
  for (const ReportRun& run : runs) {
    for (const std::string& note : run.notes) {
      absl::StrAppend(&section.markup, "<li><strong>", EscapeMarkup(run.name),
                      "</strong>: ", EscapeMarkup(note), "</li>\n");
    }
  }
  if (!section.markup.empty()) {
    section.markup = absl::StrCat("<ul>\n", section.markup, "</ul>\n");
  }
  return section;
}

}  // namespace sluice
