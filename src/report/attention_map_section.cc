// Attention maps of the newest file of each run.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/json_text.h"
#include "nlohmann/json.hpp"
#include "report/heat_picture.h"
#include "report/html_table.h"
#include "report/page_section.h"
#include "telemetry/line_chart.h"

namespace sluice {
namespace {

constexpr int64_t kMostMaps = 192;  // of the page
constexpr int64_t kLeastMaps = 4;   // of a run, and of a sequence, that has as many

using Matrix = std::vector<std::vector<double>>;

// A picture wants rows of one length, and at least one cell.
Matrix Rectangular(const Matrix& map) {
  size_t columns = 0;
  for (const auto& row : map) columns = std::max(columns, row.size());
  Matrix full = map;
  for (auto& row : full) row.resize(columns, std::nan(""));
  return columns == 0 ? Matrix() : full;
}

double MassOnFirst(const Matrix& map) {
  double sum = 0;
  for (const auto& row : map) sum += row[0];
  return sum / static_cast<double>(map.size());
}

std::string MapMarkup(const Matrix& map, int64_t sequence, size_t layer, size_t head) {
  const std::string name = absl::StrFormat("%d.%d", layer, head);
  return absl::StrFormat(
      "<figure class=\"attention\"><img class=\"pixels\" data-head=\"%s\" width=\"%d\" "
      "height=\"%d\" alt=\"attention of head %s in sequence %d, %d queries by %d keys; mean mass "
      "on the first key %.3f\" src=\"%s\"/><figcaption>%s "
      "<span>%.2f</span></figcaption></figure>\n",
      name, map[0].size(), map.size(), name, sequence, map.size(), map[0].size(), MassOnFirst(map),
      HeatPicture(map, HeatScale::kSquareRoot), name, MassOnFirst(map));
}

std::string TokensAttribute(const AttentionMapSequence& sequence) {
  return EscapeMarkup(JsonText(nlohmann::json(sequence.tokens)));
}

// A sequence's maps, or `most` of them, evenly over layers and heads; empty: it has none.
std::string SequenceMarkup(const AttentionMapSequence& sequence, int64_t step, int64_t most) {
  std::vector<std::pair<size_t, size_t>> heads;
  for (size_t layer = 0; layer < sequence.layers.size(); ++layer) {
    for (size_t head = 0; head < sequence.layers[layer].size(); ++head) {
      heads.emplace_back(layer, head);
    }
  }
  const auto all = static_cast<int64_t>(heads.size()), shown = std::min(all, most);
  std::string maps;
  for (int64_t i = 0; i < shown; ++i) {
    const auto [layer, head] = heads[i * all / shown];
    const Matrix map = Rectangular(sequence.layers[layer][head]);
    if (!map.empty()) absl::StrAppend(&maps, MapMarkup(map, sequence.index, layer, head));
  }
  if (maps.empty()) return "";
  std::string text;
  for (size_t i = 0; i < sequence.tokens.size(); ++i) {
    absl::StrAppend(&text, "<b>", i, "</b> ", EscapeMarkup(sequence.tokens[i]), " ");
  }
  const std::string left_out = shown < all ? absl::StrCat(", ", shown, " of ", all, " heads") : "";
  return absl::StrFormat(
      "<p>Step %d, sequence %d of the data%s.</p>\n<div class=\"attentions\" data-tokens=\"%s\">\n"
      "%s</div>\n<details><summary>The tokens</summary><p class=\"tokens\">%s</p></details>\n",
      step, sequence.index, left_out, TokensAttribute(sequence), maps, text);
}

// The first sequences, so many that each has room for a few of the `most` maps.
std::string RunMarkup(const ReportRun& run, int style, int64_t most) {
  const std::vector<AttentionMapSequence>& sequences = run.maps->sequences;
  const int64_t all = std::ssize(sequences);
  int64_t heads = 0;
  for (const auto& layer : sequences[0].layers) heads += std::ssize(layer);
  const int64_t least = std::clamp<int64_t>(heads, 1, kLeastMaps);
  const int64_t shown = std::min(all, std::max<int64_t>(1, most / least));
  std::string maps;
  for (int64_t i = 0; i < shown; ++i) {
    absl::StrAppend(&maps, SequenceMarkup(sequences[i], run.maps->step, most / shown));
  }
  if (maps.empty()) return "";
  const std::string left_out =
      shown < all ? absl::StrCat("<p>", shown, " of ", all, " sequences.</p>\n") : "";
  return absl::StrFormat("<div class=\"r%d\"><h3>%s%s</h3>\n%s%s</div>\n", style, RunSample(style),
                         EscapeMarkup(run.name), left_out, maps);
}

}  // namespace

PageSection AttentionMapSection(const std::vector<ReportRun>& runs) {
  PageSection section = {.id = "attention-maps", .title = "Attention maps", .markup = {}};
  const auto has = [](const ReportRun& run) {
    return run.maps.has_value() && !run.maps->sequences.empty();
  };
  const int64_t with_maps = std::count_if(runs.begin(), runs.end(), has);
  if (with_maps == 0) return section;
  const int64_t most = std::max(kLeastMaps, kMostMaps / with_maps);
  std::string all;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (has(runs[i])) absl::StrAppend(&all, RunMarkup(runs[i], static_cast<int>(i), most));
  }
  if (all.empty()) return section;
  section.markup = absl::StrCat(
      "<p>A row a query, a column a key, both from the first position on; opacity is the square "
      "root of the probability, so that little shows. Below each map: layer.head and the mean mass "
      "on the first key.</p>\n",
      all);
  return section;
}

}  // namespace sluice
