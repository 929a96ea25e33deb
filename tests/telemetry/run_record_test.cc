#include "telemetry/run_record.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "support/compare.h"
#include "telemetry/gate_statistics.h"
#include "telemetry/metric_writer.h"

namespace sluice {
namespace {

std::string EmptyFolder(const std::string& name) {
  static const testing::TemporaryFolder root;
  const std::string folder = absl::StrCat(root.path(), "/", name);
  std::filesystem::create_directories(folder);
  return folder;
}

TEST(RunRecordTest, NumbersBecomeScalarsUnderEventAndData) {
  const auto scalars = EventScalars("evaluation", {{"step", int64_t{3}},
                                                   {"data", std::string("wiki")},
                                                   {"perplexity", 12.5},
                                                   {"targets", int64_t{7}},
                                                   {"note", std::string("not a number")}});
  ASSERT_EQ(scalars.size(), 2u);
  EXPECT_EQ(scalars[0].tag, "evaluation/wiki/perplexity");
  EXPECT_EQ(scalars[0].value, 12.5);
  EXPECT_EQ(scalars[1].tag, "evaluation/wiki/targets");
  EXPECT_EQ(scalars[1].value, 7);
  EXPECT_EQ(EventScalars("train", {{"step", int64_t{3}}, {"loss", 1.0}})[0].tag, "train/loss");
}

TEST(RunRecordTest, ArraysBecomeAScalarForEachHead) {
  const auto scalars = EventScalars(
      "attention", {{"step", int64_t{3}}, {"layer_0.entropy", std::vector<double>{1.5, 2.5}}});
  ASSERT_EQ(scalars.size(), 2u);
  EXPECT_EQ(scalars[0].tag, "attention/layer_0.entropy/00");
  EXPECT_EQ(scalars[0].value, 1.5);
  EXPECT_EQ(scalars[1].tag, "attention/layer_0.entropy/01");
  EXPECT_EQ(scalars[1].value, 2.5);
}

TEST(RunRecordTest, ArraysAreArraysInJson) {
  const std::string folder = EmptyFolder("arrays");
  RunRecord record;
  ASSERT_TRUE(record.Open({folder, 0, false}).ok());
  const double infinity = std::numeric_limits<double>::infinity();
  ASSERT_TRUE(record
                  .Write("gates", {{"step", int64_t{3}},
                                   {"x", std::vector<double>{0.5, NAN, -infinity}},
                                   {"empty", std::vector<double>{}}})
                  .ok());
  std::ifstream file(folder + "/metrics.jsonl");
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, R"({"event":"gates","step":3,"x":[0.5,"nan","-inf"],"empty":[]})");
}

TEST(RunRecordTest, HistogramsHaveTheMomentsOfTheGates) {
  GateAccumulator accumulator(/*layers=*/2, /*heads=*/2, {"word"});
  accumulator.BeginBatch();
  const std::vector<uint8_t> classes(3, 0);
  const std::vector<float> gates = {0.25f, 1.0f, 0.5f, 1.0f, 0.75f, 1.0f};  // (3, 2)
  for (int layer : {0, 1}) accumulator.Add(layer, gates.data(), 2, 1, classes);
  const auto histograms = EventHistograms(accumulator.Statistics());
  ASSERT_EQ(histograms.size(), 4u);
  const EventHistogram& head = histograms[2];
  EXPECT_EQ(head.tag, "gates/layer_01/head_00");
  EXPECT_EQ(head.count, 3);
  EXPECT_EQ(head.minimum, 0.25);
  EXPECT_EQ(head.maximum, 0.75);
  EXPECT_NEAR(head.sum, 1.5, 1e-12);
  EXPECT_NEAR(head.sum_of_squares, 0.0625 + 0.25 + 0.5625, 1e-12);
  ASSERT_EQ(head.bounds.size(), 64u);
  EXPECT_EQ(head.bounds[15], 0.25);  // [15/64, 16/64), below 0.25
  EXPECT_EQ(head.counts[16], 1);
  EXPECT_EQ(histograms[3].counts[63], 3);
  EXPECT_TRUE(EventHistograms(GateStatistics()).empty());
}

TEST(RunRecordTest, BothFilesOrOne) {
  for (const bool tensorboard : {true, false}) {
    const std::string folder = EmptyFolder(absl::StrCat("both_", tensorboard));
    RunRecord record;
    ASSERT_TRUE(record.Open({folder, 0, tensorboard}).ok());
    ASSERT_TRUE(record.Write("train", {{"step", int64_t{3}}, {"loss", 1.0}}).ok());
    ASSERT_TRUE(record.WriteGates(3, GateStatistics()).ok());
    EXPECT_GT(std::filesystem::file_size(folder + "/metrics.jsonl"), 0u);
    EXPECT_EQ(std::filesystem::exists(folder + "/tensorboard"), tensorboard);
    if (!tensorboard) continue;
    const auto file = std::filesystem::directory_iterator(folder + "/tensorboard")->path();
    const auto records = ReadEventRecords(file.string());
    ASSERT_TRUE(records.ok());
    EXPECT_EQ(records->events.size(), 2u);  // no gates: no event
  }
}

TEST(RunRecordTest, ANewRunKeepsNoRecordAndAResumedOneItsOwn) {
  const std::string folder = EmptyFolder("kept");
  const std::string path = folder + "/metrics.jsonl";
  const auto reopen = [&](int64_t step) {
    std::ofstream(path, std::ios::trunc) << "{\"event\":\"a\",\"step\":0}\n"
                                            "{\"event\":\"a\",\"step\":4}\n"
                                            "{\"event\":\"a\",\"step\":\"4\"}\n[4]\n"
                                            "{\"event\":\"a\",\"step\":5}\n{\"event\":\"a";
    MetricWriter writer;
    EXPECT_TRUE(writer.Open(path, step).ok());
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(reopen(4), "{\"event\":\"a\",\"step\":0}\n{\"event\":\"a\",\"step\":4}\n");
  EXPECT_EQ(reopen(0), "{\"event\":\"a\",\"step\":0}\n");
  EXPECT_EQ(reopen(-1), "");
  // What cannot be read is not replaced.
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  MetricWriter writer;
  const absl::Status status = writer.Open(path, 4);
  EXPECT_NE(status.message().find("cannot read metrics"), std::string::npos) << status;
  EXPECT_TRUE(std::filesystem::is_directory(path));
}

std::string Contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(RunRecordTest, AnAlarmIsALineBehindItsRecord) {
  const std::string folder = EmptyFolder("alarms");
  RunRecord record;
  ASSERT_TRUE(record.Open({folder, 0, false}).ok());
  record.SetAlarms(Alarms({.sink_share = 0.5, .max_abs = 0}));
  for (const double mass : {0.4, 0.75, 0.8, 0.25}) {
    ASSERT_TRUE(record
                    .Write("attention", {{"step", static_cast<int64_t>(100 * mass)},
                                         {"layer_1.mass_on_first", std::vector<double>{0, mass}}})
                    .ok());
  }
  EXPECT_EQ(Contents(folder + "/metrics.jsonl"),
            "{\"event\":\"attention\",\"step\":40,\"layer_1.mass_on_first\":[0.0,0.4]}\n"
            "{\"event\":\"attention\",\"step\":75,\"layer_1.mass_on_first\":[0.0,0.75]}\n"
            "{\"event\":\"alarm\",\"step\":75,\"name\":\"sink_share\",\"where\":\"layer_1.head_1\","
            "\"value\":0.75,\"threshold\":0.5}\n"
            "{\"event\":\"attention\",\"step\":80,\"layer_1.mass_on_first\":[0.0,0.8]}\n"
            "{\"event\":\"attention\",\"step\":25,\"layer_1.mass_on_first\":[0.0,0.25]}\n"
            "{\"event\":\"alarm_over\",\"step\":25,\"name\":\"sink_share\",\"where\":"
            "\"layer_1.head_1\",\"value\":0.25,\"threshold\":0.5}\n");
}

TEST(RunRecordTest, MapsAreAFileAndImages) {
  const AttentionMap map = {.tokens = 2, .p = {1, 0, 0.5f, 0.5f}};
  const std::vector<SequenceMaps> maps = {
      {.tokens = {"a", "b"}, .layers = {{map, map}, {map, map}}},
      {.index = 30, .tokens = {"c", "d"}, .layers = {{map, map}, {map, map}}}};
  const std::vector<EventImage> images = EventImages(maps);
  ASSERT_EQ(images.size(), 8u);
  EXPECT_EQ(images[7].tag, "attention/layer_01/head_01/sequence_30");
  EXPECT_EQ(images[7].width, 256);
  EXPECT_EQ(images[7].png, EncodePng(DrawMap(map)));
  for (const bool tensorboard : {true, false}) {
    const std::string folder = EmptyFolder(absl::StrCat("maps_", tensorboard));
    RunRecord record;
    ASSERT_TRUE(record.Open({folder, 0, tensorboard}).ok());
    ASSERT_TRUE(record.WriteAttentionMaps(30, maps).ok());
    EXPECT_EQ(Contents(folder + "/attention_maps/step_00000030.json"),
              AttentionMapsToJson(30, maps) + "\n");
    // Going on from step 20 removes them, from 30 not.
    for (const int64_t resumed : {30, 20}) {
      RunRecord later;
      ASSERT_TRUE(later.Open({folder, resumed, tensorboard}).ok());
      EXPECT_EQ(std::filesystem::exists(folder + "/attention_maps/step_00000030.json"),
                resumed == 30);
    }
  }
}

}  // namespace
}  // namespace sluice
