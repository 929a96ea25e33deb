#include "telemetry/gate_report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/check.h"
#include "nlohmann/json.hpp"
#include "telemetry/attention_report.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kHistogramColumns = 32;
constexpr int64_t kClassesALine = 7;  // columns of the table by token class
constexpr int kClassColumns = 12;
constexpr size_t kNamesALine = 14;

std::string Name(const LayerAndHead& head) { return absl::StrCat(head.layer, ".", head.head); }

template <typename Condition>
std::vector<LayerAndHead> HeadsWhere(const GateStatistics& gates, const Condition& condition) {
  std::vector<LayerAndHead> heads;
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    for (int64_t head = 0; head < gates.heads; ++head) {
      const GateCell& cell = gates.cell(layer, head);
      if (cell.count > 0 && condition(cell)) heads.push_back({layer, head});
    }
  }
  return heads;
}

// Layers in which anything was counted: the others have no gates.
int64_t GatedLayers(const GateStatistics& gates) {
  int64_t layers = 0;
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    if (gates.cell(layer, 0).count > 0) ++layers;
  }
  return layers;
}

std::string NamesText(const char* title, const std::vector<LayerAndHead>& heads, int64_t of) {
  std::string text = absl::StrCat(title, ": ", heads.size(), " of ", of, "\n");
  for (size_t i = 0; i < heads.size(); ++i) {
    absl::StrAppendFormat(&text, "%6s", Name(heads[i]));
    if (i + 1 == heads.size() || (i + 1) % kNamesALine == 0) text += "\n";
  }
  return text;
}

std::string HeadTable(const GateStatistics& gates) {
  std::string text = absl::StrFormat("%-8s%7s %7s %7s %7s %7s %7s %7s  %-16s%16s\n", "head", "mean",
                                     "dev", "min", "max", "<0.05", ">0.95", "entropy", "|0", "1|");
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    for (int64_t head = 0; head < gates.heads; ++head) {
      const GateCell& cell = gates.cell(layer, head);
      absl::StrAppendFormat(&text, "%-8s", Name({layer, head}));
      if (cell.count == 0) {
        text += "no gates counted\n";
        continue;
      }
      const std::string entropy =
          std::isnan(cell.entropy) ? "-" : absl::StrFormat("%.4f", cell.entropy);
      absl::StrAppendFormat(&text, "%7.4f %7.4f %7.4f %7.4f %6.1f%% %6.1f%% %7s  %s\n", cell.mean,
                            cell.deviation(), cell.minimum, cell.maximum, 100 * cell.share_below(),
                            100 * cell.share_above(), entropy,
                            DrawHistogram(cell.histogram, kHistogramColumns));
    }
  }
  return text;
}

// Mean by token class, for classes [begin, end).
std::string ClassTable(const GateStatistics& gates, int64_t begin, int64_t end) {
  std::string text = absl::StrFormat("%-8s", "mean");
  for (int64_t k = begin; k < end; ++k) {
    absl::StrAppendFormat(&text, " %*s", kClassColumns,
                          gates.token_classes[k].substr(0, kClassColumns));
  }
  text += "\n";
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    for (int64_t head = 0; head < gates.heads; ++head) {
      absl::StrAppendFormat(&text, "%-8s", Name({layer, head}));
      for (int64_t k = begin; k < end; ++k) {
        const GateCell& cell = gates.cell(layer, head, k);
        absl::StrAppendFormat(
            &text, " %*s", kClassColumns,
            cell.count == 0 ? std::string("-") : absl::StrFormat("%.4f", cell.mean));
      }
      text += "\n";
    }
  }
  return text;
}

Json CellJson(const GateCell& cell) {
  return {{"count", cell.count},
          {"entropy", std::isnan(cell.entropy) ? Json(nullptr) : Json(cell.entropy)},
          {"mean", cell.mean},
          {"deviation", cell.deviation()},
          {"minimum", cell.minimum},
          {"maximum", cell.maximum},
          {"share_below_0.05", cell.share_below()},
          {"share_above_0.95", cell.share_above()},
          {"histogram", cell.histogram}};
}

Json NamesJson(const std::vector<LayerAndHead>& heads) {
  Json names = Json::array();
  for (const LayerAndHead& head : heads) names.push_back(Name(head));
  return names;
}

}  // namespace

std::vector<LayerAndHead> ClosedHeads(const GateStatistics& gates) {
  return HeadsWhere(gates, [](const GateCell& cell) { return cell.mean < kGateClosedBelow; });
}
std::vector<LayerAndHead> OpenHeads(const GateStatistics& gates) {
  return HeadsWhere(gates, [](const GateCell& cell) { return cell.mean > kGateOpenAbove; });
}

std::string DrawHistogram(const std::array<int64_t, kGateHistogramBins>& histogram, int columns) {
  static constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  CHECK(columns >= 1 && kGateHistogramBins % columns == 0) << columns;
  std::vector<int64_t> heights(columns, 0);
  for (int bin = 0; bin < kGateHistogramBins; ++bin) {
    heights[bin / (kGateHistogramBins / columns)] += histogram[bin];
  }
  const int64_t highest = *std::ranges::max_element(heights);
  std::string text;
  for (const int64_t height : heights) {
    // Anything is at least the lowest bar, so that rare gates show.
    text += height == 0 ? " " : kBars[(height * 8 - 1) / highest];
  }
  return text;
}

std::string GateReportText(const GateStatistics& gates) {
  if (gates.empty()) return "no gates were looked at\n";
  const int64_t layers = GatedLayers(gates), heads = layers * gates.heads;
  const std::string of_all = layers < gates.layers ? absl::StrCat(" of ", gates.layers) : "";
  std::string text =
      absl::StrFormat("gates of %d%s layers of %d heads over %d micro-batches, mean %.4f\n", layers,
                      of_all, gates.heads, gates.batches, gates.OverallMean());
  if (gates.rejected > 0) {
    absl::StrAppend(&text, "REJECTED: ", gates.rejected, " gates were NaN or outside of [0, 1]\n");
  }
  absl::StrAppend(&text, NamesText("closed heads (mean < 0.05)", ClosedHeads(gates), heads),
                  NamesText("heads whose gate never acts (mean > 0.95)", OpenHeads(gates), heads),
                  "\n", HeadTable(gates));
  for (int64_t begin = 1; begin < gates.classes(); begin += kClassesALine) {
    absl::StrAppend(&text, "\n",
                    ClassTable(gates, begin, std::min(begin + kClassesALine, gates.classes())));
  }
  return text;
}

std::string GateReportJson(const GateStatistics& gates, const AttentionStatistics& attention) {
  Json json = {{"layers", gates.layers},
               {"heads", gates.heads},
               {"batches", gates.batches},
               {"rejected", gates.rejected},
               {"mean", gates.OverallMean()},
               {"closed_heads", NamesJson(ClosedHeads(gates))},
               {"open_heads", NamesJson(OpenHeads(gates))},
               {"token_classes", gates.token_classes},
               {"by_head", Json::object()},
               {"attention", AttentionReportJson(attention)}};
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    for (int64_t head = 0; head < gates.heads; ++head) {
      Json& entry = json["by_head"][Name({layer, head})];
      for (int64_t k = 0; k < gates.classes(); ++k) {
        entry[gates.token_classes[k]] = CellJson(gates.cell(layer, head, k));
      }
    }
  }
  return absl::StrCat(json.dump(2), "\n");
}

}  // namespace sluice
