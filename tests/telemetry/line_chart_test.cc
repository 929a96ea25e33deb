// Thinned points, escaped text, and charts inside of a page. Charts as files are in
// bigram_backcopy_check_test.cc.
#include "telemetry/line_chart.h"

#include <algorithm>
#include <cmath>

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

}  // namespace
}  // namespace sluice
