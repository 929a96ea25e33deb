#include "telemetry/alarms.h"

#include <cmath>

#include "gtest/gtest.h"

namespace sluice {
namespace {

MetricFields Activations(double first, double second) {
  return {{"step", int64_t{10}},
          {"layer_0.attention.output.max_abs", first},
          {"layer_0.attention.output.kurtosis_per_token", 1e9},
          {"layer_1.feed_forward.output.max_abs", second}};
}

TEST(AlarmsTest, OneWhenCrossedAndOneWhenOver) {
  Alarms alarms({.sink_share = 0, .max_abs = 100});
  EXPECT_TRUE(alarms.Look("activations", Activations(90, 100)).empty());  // not above
  auto notices = alarms.Look("activations", Activations(101, 250));
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_FALSE(notices[0].over);
  EXPECT_EQ(notices[0].name, "max_abs");
  EXPECT_EQ(notices[0].where, "layer_1.feed_forward.output");
  EXPECT_EQ(notices[0].value, 250);
  EXPECT_EQ(notices[0].threshold, 100);
  EXPECT_EQ(notices[0].places, 2);
  // Neither while it stays so, nor around the threshold.
  EXPECT_TRUE(alarms.Look("activations", Activations(300, 250)).empty());
  EXPECT_TRUE(alarms.Look("activations", Activations(99, 5)).empty());
  EXPECT_TRUE(alarms.Look("activations", Activations(101, 5)).empty());
  notices = alarms.Look("activations", Activations(89, 5));
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_TRUE(notices[0].over);
  EXPECT_EQ(notices[0].where, "layer_0.attention.output");
  EXPECT_EQ(notices[0].value, 89);
  EXPECT_TRUE(alarms.Look("activations", Activations(99, 5)).empty());
  EXPECT_EQ(alarms.Look("activations", Activations(5, 101)).size(), 1u);
}

TEST(AlarmsTest, HeadsOfAnArray) {
  Alarms alarms({.sink_share = 0.5, .max_abs = 1});
  const MetricFields fields = {{"step", int64_t{7}},
                               {"layer_0.mass_on_first", std::vector<double>{0.1, 0.4}},
                               {"layer_3.mass_on_first", std::vector<double>{0.2, 0.75}},
                               {"layer_3.mass_on_strongest", std::vector<double>{0.2, 0.99}},
                               {"layer_3.delta_logit", std::vector<double>{20, 30}}};
  EXPECT_TRUE(alarms.Look("gates", fields).empty());
  const auto notices = alarms.Look("attention", fields);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0].name, "sink_share");
  EXPECT_EQ(notices[0].where, "layer_3.head_1");
  EXPECT_EQ(notices[0].value, 0.75);
  EXPECT_EQ(notices[0].places, 1);
  EXPECT_EQ(AlarmText(7, notices[0]),
            "alarm at step 7: attention mass on the first token is 0.75 in layer_3.head_1, above "
            "telemetry.alarms.sink_share 0.5");
  const MetricFields record = AlarmFields(7, notices[0]);
  const MetricFields expected = {{"step", int64_t{7}},
                                 {"name", std::string("sink_share")},
                                 {"where", std::string("layer_3.head_1")},
                                 {"value", 0.75},
                                 {"threshold", 0.5}};
  EXPECT_EQ(record, expected);
}

TEST(AlarmsTest, OffAtZero) {
  Alarms alarms;
  EXPECT_TRUE(alarms.Look("activations", Activations(1e30, 1e30)).empty());
  EXPECT_TRUE(alarms.active().empty());
}

TEST(AlarmsTest, WhatIsNoNumberIsTheWorst) {
  for (const auto& [first, second] : {std::pair{NAN, 1e9}, {1e9, NAN}}) {
    Alarms alarms({.sink_share = 0, .max_abs = 100});
    const auto notices = alarms.Look("activations", Activations(first, second));
    ASSERT_EQ(notices.size(), 1u);
    EXPECT_TRUE(std::isnan(notices[0].value));
    EXPECT_EQ(notices[0].places, 2);
    EXPECT_TRUE(alarms.Look("activations", Activations(NAN, 1)).empty());
  }
}

TEST(AlarmsTest, GoesOnWithWhatWasActive) {
  Alarms before({.sink_share = 0, .max_abs = 100});
  before.Look("activations", Activations(300, 5));
  EXPECT_EQ(before.active(), std::set<std::string>{"max_abs"});
  Alarms after({.sink_share = 0, .max_abs = 100});
  after.Restore(before.active());
  EXPECT_TRUE(after.Look("activations", Activations(300, 5)).empty());
  const auto notices = after.Look("activations", Activations(1, 5));
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_TRUE(notices[0].over);
  EXPECT_EQ(AlarmText(20, notices[0]),
            "alarm over at step 20: largest |x| is 5 (layer_1.feed_forward.output), well below "
            "telemetry.alarms.max_abs 100");
}

}  // namespace
}  // namespace sluice
