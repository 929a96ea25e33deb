#include "telemetry/chart_scale.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"

namespace sluice {
namespace {

using Kind = ChartScale::Kind;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Labels(const ChartScale& scale, int count = 5) {
  std::vector<std::string> labels;
  for (const double tick : scale.Ticks(count)) labels.push_back(TickLabel(tick));
  return labels;
}

TEST(ChartScaleTest, DistancesAreOneTwoOrFiveTimesAPowerOfTen) {
  EXPECT_DOUBLE_EQ(RoundTickDistance(1, 5), .2);
  EXPECT_DOUBLE_EQ(RoundTickDistance(100, 4), 50);
  EXPECT_DOUBLE_EQ(RoundTickDistance(3e-5, 5), 1e-5);
  EXPECT_DOUBLE_EQ(RoundTickDistance(9, 1), 10);
}

TEST(ChartScaleTest, LinearTicksAreRoundWhateverTheRange) {
  EXPECT_THAT(Labels(ChartScale::Fit(Kind::kLinear, .03, .87)),
              ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1"));
  EXPECT_THAT(Labels(ChartScale::Fit(Kind::kLinear, -.9, 11.2)),
              ElementsAre("-5", "0", "5", "10", "15"));
  EXPECT_THAT(Labels({Kind::kLinear, 1, 25000}), ElementsAre("5000", "10k", "15k", "20k", "25k"));
  EXPECT_THAT(Labels({Kind::kLinear, 0, 3e-5}), ElementsAre("0", "1e-5", "2e-5", "3e-5"));
}

TEST(ChartScaleTest, FittedRangesEndInTicks) {
  const ChartScale scale = ChartScale::Fit(Kind::kLinear, 2.1, 7.9);
  EXPECT_EQ(scale.low(), 2);
  EXPECT_EQ(scale.high(), 8);
  const ChartScale exact = ChartScale::Fit(Kind::kLinear, 0, .6);
  EXPECT_DOUBLE_EQ(exact.high(), .6);  // not one further for a rounding
}

TEST(ChartScaleTest, LogarithmicTicksArePowersOfTenOrTheirTwosAndFives) {
  EXPECT_THAT(Labels({Kind::kLogarithmic, .003, 4}), ElementsAre("0.01", "0.1", "1"));
  EXPECT_THAT(Labels({Kind::kLogarithmic, 15, 1500}),
              ElementsAre("20", "50", "100", "200", "500", "1000"));
  EXPECT_THAT(Labels({Kind::kLogarithmic, 6, 7}),
              ElementsAre("6", "6.2", "6.4", "6.6", "6.8", "7"));
  EXPECT_THAT(Labels({Kind::kLogarithmic, 11, 9900}),
              ElementsAre("30", "100", "300", "1000", "3000"));
  EXPECT_LE(ChartScale(Kind::kLogarithmic, 1e-12, 1e9).Ticks(5).size(), 6u);
}

TEST(ChartScaleTest, StepTicksShowTheBeginning) {
  EXPECT_THAT(Labels({Kind::kStep, 0, 4000}), ElementsAre("0", "20", "100", "300", "1000", "3000"));
}

TEST(ChartScaleTest, FractionsFollowTheKind) {
  EXPECT_DOUBLE_EQ(ChartScale(Kind::kLinear, 10, 30).Fraction(15), .25);
  EXPECT_DOUBLE_EQ(ChartScale(Kind::kLogarithmic, 1, 100).Fraction(10), .5);
  EXPECT_THAT(ChartScale(Kind::kStep, 0, 1980).Fraction(180), DoubleNear(.5, 1e-12));
}

TEST(ChartScaleTest, ARangeOfOneValueIsWidened) {
  EXPECT_EQ(ChartScale(Kind::kLinear, 3e-4, 3e-4).high(), 6e-4);
  EXPECT_EQ(ChartScale(Kind::kLinear, 0, 0).high(), 1);
  EXPECT_EQ(ChartScale(Kind::kLinear, -2, -2).high(), 0);
  EXPECT_EQ(ChartScale(Kind::kLogarithmic, 5, 5).high(), 50);
}

TEST(ChartScaleTest, WhatHasNoPlace) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  for (const Kind kind : {Kind::kLinear, Kind::kLogarithmic, Kind::kStep}) {
    const ChartScale scale(kind, 1, 2);
    EXPECT_FALSE(scale.Has(nan));
    EXPECT_FALSE(scale.Has(infinity));
    EXPECT_EQ(scale.Has(0), kind != Kind::kLogarithmic);
  }
}

TEST(ChartScaleTest, ExtremeRangesEndAndStayFinite) {
  EXPECT_LT(ChartScale(Kind::kLinear, 1e300, std::nextafter(1e300, 2e300)).Ticks(5).size(), 20u);
  EXPECT_THAT(ChartScale(Kind::kLinear, -1.7e308, 1.7e308).Ticks(5), IsEmpty());
}

TEST(TickLabelTest, IsShort) {
  EXPECT_EQ(TickLabel(20000), "20k");
  EXPECT_EQ(TickLabel(1500000), "1.5M");
  EXPECT_EQ(TickLabel(1e12), "1e12");
  EXPECT_EQ(TickLabel(1.5e-7), "1.5e-7");
  EXPECT_EQ(TickLabel(3 * .1), "0.3");
}

}  // namespace
}  // namespace sluice
