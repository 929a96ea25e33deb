#include "telemetry/gate_report.h"

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"
#include "telemetry/attention_report.h"
#include "telemetry/gate_statistics.h"

namespace sluice {
namespace {

constexpr int64_t kLayers = 12, kHeads = 12;

// Head 3.11 is closed, 0.7 open, 5.0 spread; all others stand at one half.
GateStatistics MakeStatistics() {
  GateAccumulator accumulator(
      kLayers, kHeads,
      {"[CLS]", "[SEP]", "[MASK]", "first", "punctuation", "word", "a very long class name"});
  accumulator.BeginBatch();
  const int64_t rows = 640;
  std::vector<uint8_t> token_class(rows);
  for (int64_t row = 0; row < rows; ++row) token_class[row] = row % 64 == 0 ? 1 : 5;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    std::vector<float> gates(rows * kHeads, 0.5f);
    for (int64_t row = 0; row < rows; ++row) {
      if (layer == 3) gates[row * kHeads + 11] = 0.01f;
      if (layer == 0) gates[row * kHeads + 7] = 0.99f;
      if (layer == 5) gates[row * kHeads] = static_cast<float>(row % 64) / 64;
    }
    accumulator.Add(layer, gates.data(), kHeads, 1, token_class);
  }
  return accumulator.Statistics();
}

// Characters on a screen: bytes that do not continue one.
size_t Columns(absl::string_view line) {
  return static_cast<size_t>(
      std::ranges::count_if(line, [](char c) { return (c & 0xC0) != 0x80; }));
}

TEST(GateReportTest, NamesClosedAndOpenHeads) {
  const GateStatistics statistics = MakeStatistics();
  EXPECT_EQ(ClosedHeads(statistics), (std::vector<LayerAndHead>{{3, 11}}));
  EXPECT_EQ(OpenHeads(statistics), (std::vector<LayerAndHead>{{0, 7}}));
  const std::string text = GateReportText(statistics);
  EXPECT_TRUE(absl::StrContains(text, "closed heads (mean < 0.05): 1 of 144\n  3.11\n")) << text;
  EXPECT_TRUE(absl::StrContains(text, "never acts (mean > 0.95): 1 of 144\n   0.7\n")) << text;
}

// Where only some layers have gates, only their heads count.
TEST(GateReportTest, SaysWhichLayersHaveGates) {
  GateAccumulator accumulator(3, 2, {"word"});
  accumulator.BeginBatch();
  const std::vector<float> gates(4, 0.01f);
  accumulator.Add(1, gates.data(), 2, 1, std::vector<uint8_t>(2, 0));
  const GateStatistics statistics = accumulator.Statistics();
  EXPECT_EQ(ClosedHeads(statistics), (std::vector<LayerAndHead>{{1, 0}, {1, 1}}));
  const std::string text = GateReportText(statistics);
  EXPECT_TRUE(absl::StrContains(text, "gates of 1 of 3 layers of 2 heads")) << text;
  EXPECT_TRUE(absl::StrContains(text, "closed heads (mean < 0.05): 2 of 2")) << text;
  EXPECT_TRUE(absl::StrContains(text, "0.1     no gates counted")) << text;
}

TEST(GateReportTest, TextFitsATerminal) {
  const std::string text = GateReportText(MakeStatistics());
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    EXPECT_LE(Columns(line), 100u) << line;
  }
}

TEST(GateReportTest, AHeadsLineAndItsClasses) {
  const std::string text = GateReportText(MakeStatistics());
  EXPECT_TRUE(absl::StrContains(text,
                                "5.0      0.4922  0.2886  0.0000  0.9844    6.2%    4.7%  0.4997  "
                                "████████████████████████████████\n"))
      << text;
  EXPECT_TRUE(absl::StrContains(
      text,
      "5.0                 -       0.0000            -            -            -       "
      "0.5000            -\n"))
      << text;
}

TEST(GateReportTest, HistogramsKeepRareGatesVisible) {
  std::array<int64_t, kGateHistogramBins> histogram{};
  EXPECT_EQ(DrawHistogram(histogram, 4), "    ");
  histogram[0] = 1;      // of 8000: still a bar
  histogram[16] = 8000;  // the highest
  histogram[32] = 4000;  // half: 4 of 8
  EXPECT_EQ(DrawHistogram(histogram, 4), "▁█▄ ");
  EXPECT_EQ(DrawHistogram(histogram, 1), "█");
  EXPECT_EQ(Columns(DrawHistogram(histogram, 64)), 64u);
}

TEST(GateReportTest, RejectedGatesAreShouted) {
  GateStatistics statistics = MakeStatistics();
  EXPECT_FALSE(absl::StrContains(GateReportText(statistics), "REJECTED"));
  statistics.rejected = 3;
  EXPECT_TRUE(absl::StrContains(GateReportText(statistics), "REJECTED: 3 gates"));
}

TEST(GateReportTest, WithoutGatesItSaysSo) {
  EXPECT_EQ(GateReportText({}), "no gates were looked at\n");
  EXPECT_EQ(nlohmann::json::parse(GateReportJson({}, {}))["by_head"].size(), 0u);
}

TEST(GateReportTest, JsonHasEveryHeadAndClass) {
  const nlohmann::json json = nlohmann::json::parse(GateReportJson(MakeStatistics(), {}));
  EXPECT_EQ(json["closed_heads"], (std::vector<std::string>{"3.11"}));
  EXPECT_EQ(json["open_heads"], (std::vector<std::string>{"0.7"}));
  EXPECT_EQ(json["by_head"].size(), 144u);
  EXPECT_EQ(json["by_head"]["5.0"]["all"]["count"], 640);
  EXPECT_EQ(json["by_head"]["5.0"]["[SEP]"]["count"], 10);
  EXPECT_EQ(json["by_head"]["5.0"]["[SEP]"]["maximum"], 0.0);
  EXPECT_EQ(json["by_head"]["5.0"]["all"]["histogram"].size(), 64u);
}

TEST(AttentionReportTest, ALineForEachHead) {
  const AttentionStatistics attention = {
      .layers = 1,
      .heads = 2,
      .looks = 3,
      .sequences = 6,
      .names = {"mass_on_first", "mass_on_special", "mass_on_strongest", "mass_on_registers",
                "mass_on_sink_token", "delta_logit", "entropy", "value_norm_ratio"},
      .values = {0.5, 0.25, 1, 2, 3, 4, 5, 6, 7, 8, -1.5, 10, 11, 12, NAN, 14}};
  const std::string text = AttentionReportText(attention);
  EXPECT_TRUE(absl::StrContains(text,
                                "head          first    special  strongest  registers sink token"
                                "     Δlogit    entropy     values\n"
                                "0.0          0.5000     1.0000     3.0000     5.0000     7.0000"
                                "    -1.5000    11.0000          -\n"))
      << text;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    EXPECT_LE(Columns(line), 100u) << line;
  }
  EXPECT_EQ(AttentionReportText({}), "");
  const nlohmann::json json = nlohmann::json::parse(GateReportJson({}, attention))["attention"];
  EXPECT_EQ(json["looks"], 3);
  EXPECT_EQ(json["by_head"]["0.1"]["mass_on_first"], 0.25);
  EXPECT_EQ(json["by_head"]["0.1"]["value_norm_ratio"], 14);
  EXPECT_TRUE(json["by_head"]["0.0"]["value_norm_ratio"].is_null());
  EXPECT_TRUE(nlohmann::json::parse(GateReportJson({}, {}))["attention"].is_null());
}

}  // namespace
}  // namespace sluice
