#include "report/report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/version.h"
#include "data/atomic_file.h"
#include "report/html_table.h"
#include "report/page_section.h"
#include "report/page_style.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

// The page may load nothing, and the browser holds it to that.
constexpr char kPolicy[] =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

std::vector<PageSection> Sections(const std::vector<ReportRun>& runs) {
  std::vector<PageSection> sections = {SummarySection(runs), NoteSection(runs)};
  for (PageSection& section : CurveSections(runs)) sections.push_back(std::move(section));
  for (PageSection& section : std::vector<PageSection>{
           QuantizationSection(runs), TensorSection(runs), GateSection(runs), SinkMapSection(runs),
           AttentionMapSection(runs), AlarmSection(runs), ConfigSection(runs)}) {
    sections.push_back(std::move(section));
  }
  std::erase_if(sections, [](const PageSection& section) { return section.markup.empty(); });
  return sections;
}

std::string Legend(const std::vector<ReportRun>& runs) {
  std::string html =
      "<fieldset class=\"runs\"><legend>Show</legend>\n"
      "<button type=\"button\" class=\"all\">all</button><button type=\"button\" "
      "class=\"none\">none</button>\n";
  for (size_t i = 0; i < runs.size(); ++i) {
    absl::StrAppendFormat(
        &html,
        "<label title=\"%s\"><input type=\"checkbox\" id=\"run%d\" checked=\"checked\"/>%s%s"
        "</label>\n",
        EscapeMarkup(runs[i].folder), i, RunSample(static_cast<int>(i)),
        EscapeMarkup(runs[i].name));
  }
  return html + "</fieldset>\n";
}

}  // namespace

std::string ReportPage(const std::vector<ReportRun>& runs) {
  const std::string title =
      absl::StrCat(runs.size(), runs.size() == 1 ? " run" : " runs", " of sluice");
  std::string html = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"",
      kPolicy,
      "\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>",
      title, "</title>\n<style>", PageStyle(static_cast<int>(runs.size())),
      "</style></head>\n<body>\n<h1>", title, "</h1>\n<nav aria-label=\"Sections\">");
  const std::vector<PageSection> sections = Sections(runs);
  for (const PageSection& section : sections) {
    absl::StrAppend(&html, "<a href=\"#", section.id, "\">", section.title, "</a>\n");
  }
  absl::StrAppend(&html, "</nav>\n", Legend(runs), "<main>\n");
  for (const PageSection& section : sections) {
    absl::StrAppend(&html, "<section id=\"", section.id, "\" aria-label=\"", section.title,
                    "\"><h2>", section.title, "</h2>\n", section.markup, "</section>\n");
  }
  const std::string script =
      absl::StrReplaceAll(PageScript(), {{"COLOURS", absl::StrCat(kChartColours)}});
  absl::StrAppend(&html, "</main>\n<footer><p>Written by sluice ", kVersion,
                  " report.</p></footer>\n<script>", script, "</script>\n</body></html>\n");
  return html;
}

absl::Status WriteReport(const std::vector<ReportRun>& runs, const std::string& path) {
  return WriteFileAtomically(path, ReportPage(runs));
}

}  // namespace sluice
