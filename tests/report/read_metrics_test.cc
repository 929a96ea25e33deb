#include "report/read_metrics.h"

#include <cmath>

#include "core/error.h"
#include "gmock/gmock.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

ReportRun Parse(const std::string& text) {
  ReportRun run;
  ParseMetrics(text, run);
  return run;
}

TEST(ReadMetricsTest, NumbersAreSeriesByEventDataAndField) {
  const ReportRun run = Parse(
      R"({"event":"train","step":1,"loss":6.5}
{"event":"evaluation","step":1,"data":"wiki","perplexity":900.5}
{"event":"train","step":2,"loss":6}
)");
  EXPECT_THAT(run.series.at("train.loss"), ElementsAre(Pair(1, 6.5), Pair(2, 6)));
  EXPECT_THAT(run.series.at("evaluation.wiki.perplexity"), ElementsAre(Pair(1, 900.5)));
  EXPECT_EQ(run.series.count("train.step"), 0u);
  EXPECT_EQ(run.last_step(), 2);
  EXPECT_THAT(run.notes, IsEmpty());
}

TEST(ReadMetricsTest, TextsThatStandForNumbersAreNumbers) {
  const ReportRun run = Parse(
      "{\"event\":\"train\",\"step\":1,\"loss\":\"nan\",\"gradient_norm\":\"inf\",\"note\":\"no "
      "number\"}\n");
  EXPECT_TRUE(std::isnan(run.series.at("train.loss")[0].second));
  EXPECT_TRUE(std::isinf(run.series.at("train.gradient_norm")[0].second));
  EXPECT_EQ(run.series.count("train.note"), 0u);
}

TEST(ReadMetricsTest, ATornLastLineIsLeftOutAndTold) {
  const ReportRun run = Parse("{\"event\":\"train\",\"step\":1,\"loss\":6}\n{\"event\":\"trai");
  EXPECT_EQ(run.series.at("train.loss").size(), 1u);
  EXPECT_THAT(run.notes, ElementsAre("metrics.jsonl: the last line is torn and was left out"));
}

TEST(ReadMetricsTest, AWholeLastLineWithoutNewlineCounts) {
  const ReportRun run = Parse("{\"event\":\"train\",\"step\":1,\"loss\":6}");
  EXPECT_EQ(run.series.at("train.loss").size(), 1u);
  EXPECT_THAT(run.notes, IsEmpty());
}

TEST(ReadMetricsTest, OtherBrokenLinesAreCounted) {
  const ReportRun run = Parse(
      "{\"event\":\"train\",\"step\":1,\"loss\":6}\n\xff\xfe\n[1]\n{\"step\":2}\n"
      "{\"event\":\"train\",\"step\":3,\"loss\":5}\n");
  EXPECT_EQ(run.series.at("train.loss").size(), 2u);
  EXPECT_THAT(run.notes,
              ElementsAre("metrics.jsonl: 3 lines are no record and left out, first line 2"));
}

TEST(ReadMetricsTest, WithoutANumberOfStepsItIsNoRecord) {
  const ReportRun run = Parse(
      "{\"event\":\"train\",\"step\":\"nan\",\"loss\":6}\n{\"event\":\"train\",\"step\":1e300,"
      "\"loss\":6}\n{\"event\":\"train\",\"step\":[],\"loss\":6}\n"
      "{\"event\":\"train\",\"step\":3,\"loss\":5}\n");
  EXPECT_THAT(run.series.at("train.loss"), ElementsAre(Pair(3, 5)));
  EXPECT_THAT(run.notes,
              ElementsAre("metrics.jsonl: 3 lines are no record and left out, first line 1"));
}

TEST(ReadMetricsTest, StepsRiseAndTheLaterLineOfAStepCounts) {
  const ReportRun run = Parse(
      "{\"event\":\"train\",\"step\":3,\"loss\":3}\n{\"event\":\"train\",\"step\":1,\"loss\":1}\n"
      "{\"event\":\"train\",\"step\":3,\"loss\":4}\n");
  EXPECT_THAT(run.series.at("train.loss"), ElementsAre(Pair(1, 1), Pair(3, 4)));
}

TEST(ReadMetricsTest, ArraysAreHeads) {
  const ReportRun run = Parse(
      "{\"event\":\"gates\",\"step\":5,\"layer_0.mean\":[0.5,\"nan\"],\"layer_2.mean\":[0.25],"
      "\"layer_x.mean\":[1],\"layer_99999999.mean\":[1]}\n");
  const std::vector<HeadRecord>& records = run.heads.at("gates.mean");
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].step, 5);
  ASSERT_EQ(records[0].layers.size(), 3u);
  EXPECT_EQ(records[0].layers[0][0], .5);
  EXPECT_TRUE(std::isnan(records[0].layers[0][1]));
  EXPECT_THAT(records[0].layers[1], IsEmpty());
  EXPECT_THAT(records[0].layers[2], ElementsAre(.25));
}

TEST(ReadMetricsTest, ActivationsAreReducedOverTensors) {
  const ReportRun run = Parse(
      R"({"event":"activations","step":5,"layer_0.a.max_abs":3,"layer_1.a.max_abs":7,"layer_0.a.kurtosis_per_token":2,"layer_1.a.kurtosis_per_token":4}
)");
  EXPECT_THAT(run.series.at("activations.max_abs"), ElementsAre(Pair(5, 7)));
  EXPECT_THAT(run.series.at("activations.mean_max_abs"), ElementsAre(Pair(5, 5)));
  EXPECT_THAT(run.series.at("activations.kurtosis_per_token"), ElementsAre(Pair(5, 4)));
  EXPECT_EQ(run.last_activations.at("layer_1.a.max_abs"), 7);
}

TEST(ReadMetricsTest, ANanAmongActivationsIsNotHidden) {
  const ReportRun run = Parse(
      R"({"event":"activations","step":5,"layer_0.a.max_abs":"nan","layer_1.a.max_abs":7}
)");
  EXPECT_EQ(run.series.at("activations.max_abs").size(), 1u);
  EXPECT_TRUE(std::isnan(run.series.at("activations.max_abs")[0].second));
}

TEST(ReadMetricsTest, NormsAreTakenOfAllParametersTogether) {
  const ReportRun run = Parse(
      R"({"event":"norms","step":5,"gradient.a":3,"gradient.b.c":4,"update.a":0.5,"weight.a":10}
)");
  EXPECT_THAT(run.series.at("norms.gradient"), ElementsAre(Pair(5, 5)));
  EXPECT_THAT(run.series.at("norms.update_over_weight"), ElementsAre(Pair(5, .05)));
  EXPECT_EQ(run.last_norms.at("gradient.b.c"), 4);
}

TEST(ReadMetricsTest, AlarmsOfOnePlaceAreOne) {
  const ReportRun run = Parse(
      R"({"event":"alarm","step":5,"name":"max_abs","where":"layer_0","value":60,"threshold":50}
{"event":"alarm","step":9,"name":"max_abs","where":"layer_0","value":55,"threshold":50}
{"event":"alarm","step":9,"name":"max_abs","where":"layer_1","value":51,"threshold":50}
{"event":"alarm_over","step":12,"name":"max_abs","where":"layer_1","value":49,"threshold":50}
{"event":"alarm_over","step":12,"name":"max_abs","where":"layer_7","value":49,"threshold":50}
{"event":"alarm","step":14,"name":"sink_share","where":"","value":"nan","threshold":1}
{"event":"alarm_over","step":15,"name":"sink_share","where":"","value":0,"threshold":1}
{"event":"alarm","step":16,"name":"sink_share","where":"","value":2,"threshold":1}
)");
  ASSERT_EQ(run.alarms.size(), 3u);
  EXPECT_EQ(run.alarms[0].count, 2);
  EXPECT_EQ(run.alarms[0].first_step, 5);
  EXPECT_EQ(run.alarms[0].last_step, 9);
  EXPECT_EQ(run.alarms[0].largest, 60);
  EXPECT_EQ(run.alarms[0].threshold, 50);
  EXPECT_FALSE(run.alarms[0].over_step.has_value());
  EXPECT_EQ(run.alarms[1].where, "layer_1");
  EXPECT_EQ(run.alarms[1].over_step, 12);
  EXPECT_TRUE(std::isnan(run.alarms[2].largest));     // nothing is larger
  EXPECT_FALSE(run.alarms[2].over_step.has_value());  // it has begun again
}

TEST(ReadMetricsTest, AFileThatCannotBeReadIsAnError) {
  ReportRun run;
  EXPECT_EQ(ExitCodeOf(ReadMetrics("/absent/metrics.jsonl", run)), ExitCode::kData);
}

}  // namespace
}  // namespace sluice
