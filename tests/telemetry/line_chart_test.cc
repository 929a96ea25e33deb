// Thinned points, escaped text, charts as files and inside of a page.
#include "telemetry/line_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "telemetry/chart_thinning.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::Not;
using ::testing::Pair;

TEST(ThinPointsTest, KeepsFirstLowestHighestAndLastOfEachColumn) {
  const ChartPoints points = {{0, 5}, {.1, 9}, {.2, 6}, {.3, 1}, {.4, 6}, {1, 2}, {1.5, 2}, {7, 3}};
  EXPECT_THAT(ThinPoints(points, 1), ElementsAre(Pair(0, 5), Pair(.1, 9), Pair(.3, 1), Pair(.4, 6),
                                                 Pair(1, 2), Pair(1.5, 2), Pair(7, 3)));
}

TEST(ThinPointsTest, APeakSurvivesAmongAHundredThousand) {
  ChartPoints points;
  for (int i = 0; i < 100000; ++i) points.emplace_back(i * .003, std::sin(i * .01));
  points[54321].second = 99;
  points[12345].second = -99;
  const ChartPoints thinned = ThinPoints(points, 2);
  EXPECT_LE(thinned.size(), 4u * 151);
  EXPECT_THAT(thinned, IsSubsetOf(points));
  EXPECT_TRUE(std::is_sorted(thinned.begin(), thinned.end()));
  EXPECT_EQ(std::count(thinned.begin(), thinned.end(), points[54321]), 1);
  EXPECT_EQ(std::count(thinned.begin(), thinned.end(), points[12345]), 1);
}

TEST(ThinPointsTest, FewPointsStay) {
  EXPECT_TRUE(ThinPoints({}, 2).empty());
  EXPECT_THAT(ThinPoints({{3, 4}}, 2), ElementsAre(Pair(3, 4)));
}

TEST(EscapeMarkupTest, LeavesNothingThatMarkupReads) {
  EXPECT_EQ(EscapeMarkup("<a href=\"x\">&'b'</a>"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;b&#39;&lt;/a&gt;");
  EXPECT_EQ(EscapeMarkup("‖W_O v‖ 水\n"), "‖W_O v‖ 水\n");
}

TEST(EscapeMarkupTest, ReplacesWhatIsNoText) {
  EXPECT_EQ(EscapeMarkup("a\xff\xc3z"), "a\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(EscapeMarkup(std::string("a\0b\x1b", 4)),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
}

LineChart Chart(std::vector<std::pair<double, double>> points) {
  return {.title = "a & b",
          .lines = {{.label = "<run>", .points = std::move(points), .style = 9}},
          .step_scale = ChartScale::Kind::kLinear};
}

TEST(EmbeddedLineChartTest, SaysWhatItIsAndWhoseLinesAreWhose) {
  const std::string svg = DrawEmbeddedLineChart(Chart({{0, 1}, {100, 4}}), "loss");
  EXPECT_THAT(svg, HasSubstr("<title id=\"loss-title\">a &amp; b</title>"));
  EXPECT_THAT(svg, HasSubstr("&lt;run&gt;: 1 at step 0, 4 at step 100"));
  EXPECT_THAT(svg, HasSubstr("<g class=\"r9 c1\" data-run=\"9\"><title>&lt;run&gt;</title>"));
  EXPECT_THAT(svg, HasSubstr("class=\"line d4\""));
  // x: 0 … 100 over 52 … 402; y: 0 … 4 over 216 … 10.
  EXPECT_THAT(svg, HasSubstr("data-x=\"linear 0 100 52.0 402.0\""));
  EXPECT_THAT(svg, HasSubstr("data-y=\"linear 0 4 216.0 10.0\""));
  EXPECT_THAT(svg, HasSubstr("d=\"M52.0 164.5L402.0 10.0\""));
}

TEST(EmbeddedLineChartTest, ALineHasAGapWhereItIsNotANumber) {
  const std::string svg =
      DrawEmbeddedLineChart(Chart({{0, 4}, {50, std::nan("")}, {100, 4}}), "loss");
  EXPECT_THAT(svg, HasSubstr("d=\"M52.0 10.0M402.0 10.0\""));
}

TEST(EmbeddedLineChartTest, NothingFiniteIsAnEmptyFrame) {
  const std::string svg = DrawEmbeddedLineChart(Chart({{0, INFINITY}}), "loss");
  EXPECT_THAT(svg, Not(HasSubstr("<g ")));
  EXPECT_THAT(svg, HasSubstr("</svg>"));
}

TEST(EmbeddedLineChartTest, AxisThatNeedNotBeginAtZero) {
  LineChart chart = Chart({{0, 12}, {100, 18}});
  chart.from_zero = false;
  EXPECT_THAT(DrawEmbeddedLineChart(chart, "x"), HasSubstr("data-y=\"linear 12 18 "));
}

TEST(EmbeddedLineChartTest, FewPointsHaveMarkersAndManyTheLastOnly) {
  const auto count = [](const std::string& svg) {
    const size_t begin = svg.find("class=\"mark\"");
    return std::count(svg.begin() + static_cast<std::ptrdiff_t>(begin), svg.end(), 'z');
  };
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 20; ++i) points.emplace_back(i, i);
  EXPECT_EQ(count(DrawEmbeddedLineChart(Chart(points), "x")), 20);
  for (int i = 20; i < 200; ++i) points.emplace_back(i, i);
  EXPECT_EQ(count(DrawEmbeddedLineChart(Chart(points), "x")), 1);
  for (size_t i = 1; i < points.size(); i += 2) points[i].second = std::nan("");
  EXPECT_EQ(count(DrawEmbeddedLineChart(Chart(points), "x")), 100);  // each stands alone
}

TEST(LineChartTest, PointsLieWhereTheAxesSay) {
  const std::string svg = DrawLineChart(
      {.title = "a < b", .lines = {{"one", {{0, 1}, {80, 3}, {980, 2}}}, {"two", {{0, 0}}}}});
  EXPECT_THAT(svg, HasSubstr("a &lt; b"));
  // x: log10 of 20, 100, 1000 over 64 … 624; y: 0 … 3 over 296 … 36.
  EXPECT_THAT(svg, HasSubstr("d=\"M64.0 209.3L294.4 36.0L624.0 122.7\""));
  EXPECT_THAT(svg, HasSubstr(">two</text>"));
  EXPECT_THAT(svg, HasSubstr("M64.0 296.0h0\""));  // one point alone is a dot
  const std::string logarithmic = DrawLineChart(
      {.title = "", .logarithmic = true, .lines = {{"", {{0, 1}, {80, 0}, {980, 100}}}}});
  EXPECT_THAT(logarithmic, HasSubstr("d=\"M64.0 296.0L624.0 36.0\""));
}

TEST(LineChartTest, EveryLabelIsInThePictureAndNoTwoLinesLookAlike) {
  LineChart chart = {.title = "many", .lines = {}};
  for (int i = 0; i < 20; ++i) {
    chart.lines.push_back({absl::StrCat("vanilla_3_layers_sgd, ", i), {{0, i}, {980, i + 1}}});
  }
  const std::string svg = DrawLineChart(chart);
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 640 522\""));  // two in a row: nine rows more
  std::set<std::string> strokes;
  std::set<std::pair<double, double>> places;
  for (absl::string_view line : absl::StrSplit(svg, '\n')) {
    double x = 0, y = 0;
    const size_t stroke = line.find("stroke="), path = line.find(" d=\"");
    if (stroke == absl::string_view::npos) continue;
    strokes.emplace(line.substr(stroke, path - stroke));
    const size_t text = line.find("<text x=");
    if (text == absl::string_view::npos) continue;
    ASSERT_EQ(std::sscanf(line.data() + text, "<text x=\"%lf\" y=\"%lf\"", &x, &y), 2);
    EXPECT_LE(x + 7 * 24, 640 + 8);
    EXPECT_LE(y, 522 - 16);
    places.emplace(x, y);
  }
  EXPECT_EQ(strokes.size(), 20u);
  EXPECT_EQ(places.size(), 20u);
  // What the chart shows is as high as with few lines.
  EXPECT_THAT(svg, HasSubstr("d=\"M64.0 296.0L624.0 283.0\""));
}

}  // namespace
}  // namespace sluice
