#include "train/step_report.h"

#include <cmath>
#include <fstream>
#include <limits>

#include "nlohmann/json.hpp"
#include "support/compare.h"

namespace sluice {
namespace {

StepReport Sample() {
  return {.step = 12,
          .total_steps = 1000,
          .loss = 6.1234,
          .accuracy = 0.25,
          .learning_rate = 9.9e-4,
          .gradient_norm = 1.25,
          .targets = 1234,
          .seconds = 0.5,
          .tokens_per_s = 12345.6,
          .matmul_share = 0.61,
          .data_wait_s = 0,
          .gate_mean = 0.48,
          .eta_s = 192};
}

TEST(StepReportTest, OneLineForPeople) {
  EXPECT_EQ(StepLine(Sample()),
            "step   12/1000  loss 6.1234  lr 9.90e-04  grad 1.250  12346 tok/s  61 % of matmul  "
            "gate 0.480  eta 3m12s");
  StepReport vanilla = Sample();
  vanilla.gate_mean = -1;
  vanilla.matmul_share = 0;
  vanilla.data_wait_s = 0.25;
  EXPECT_EQ(StepLine(vanilla),
            "step   12/1000  loss 6.1234  lr 9.90e-04  grad 1.250  12346 tok/s  waited 0.25s for "
            "data  eta 3m12s");
}

TEST(StepReportTest, AnUpdateWithoutTargetsHasNoLoss) {
  StepReport report = Sample();
  report.targets = 0;
  report.loss = -std::nan("");
  EXPECT_EQ(StepLine(report).substr(0, 40), "step   12/1000  loss none (no targets)  ");
  EXPECT_NE(ProgressBar(report).find("loss none (no targets)  eta"), std::string::npos);
}

TEST(StepReportTest, TheLossScaleOfHalfPrecision) {
  StepReport half = Sample();
  half.loss_scale = 0x1p24;
  EXPECT_NE(StepLine(half).find("gate 0.480  scale 16777216  eta"), std::string::npos);
  half.skipped_updates = 3;
  EXPECT_NE(StepLine(half).find("scale 16777216  skipped 3  eta"), std::string::npos);
  const auto has = [](const StepReport& report, const char* name) {
    for (const auto& field : StepFields(report)) {
      if (field.first == name) return true;
    }
    return false;
  };
  for (const char* name : {"loss_scale", "skipped_updates"}) {
    EXPECT_TRUE(has(half, name)) << name;
    EXPECT_FALSE(has(Sample(), name)) << name;
  }
}

TEST(StepReportTest, Durations) {
  EXPECT_EQ(FormatDuration(0.4), "0s");
  EXPECT_EQ(FormatDuration(59.6), "1m00s");
  EXPECT_EQ(FormatDuration(7500), "2h05m");
  EXPECT_EQ(FormatDuration(90000), "1d01h");
  EXPECT_EQ(FormatDuration(std::nan("")), "?");
}

TEST(StepReportTest, ABarThatFills) {
  StepReport report = Sample();
  EXPECT_EQ(ProgressBar(report).substr(0, 32), "[>                             ]");
  report.step = 1000;
  EXPECT_EQ(ProgressBar(report).substr(0, 39), "[==============================] 100 % ");
}

std::vector<std::string> Lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

TEST(MetricWriterTest, WritesJsonAndResumesWithoutRepeating) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/metrics.jsonl";
  {
    MetricWriter writer;
    ASSERT_TRUE(writer.Open(path, 0).ok());
    ASSERT_TRUE(writer.Write("train", StepFields(Sample())).ok());
    ASSERT_TRUE(
        writer.Write("train", {{"step", 13}, {"loss", std::numeric_limits<double>::infinity()}})
            .ok());
  }
  std::ofstream(path, std::ios::app) << "{\"event\":\"train\",\"st";  // a torn line
  {
    MetricWriter writer;
    ASSERT_TRUE(writer.Open(path, 12).ok());
    ASSERT_TRUE(writer.Write("evaluation", {{"step", 12}, {"data", "a\"b"}}).ok());
  }
  const auto lines = Lines(path);
  ASSERT_EQ(lines.size(), 2u);  // step 13 was not part of the resumed run
  const auto first = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(first["event"], "train");
  EXPECT_EQ(first["loss"], 6.1234);
  EXPECT_EQ(first["targets"], 1234);
  EXPECT_EQ(nlohmann::json::parse(lines[1])["data"], "a\"b");
}

TEST(MetricWriterTest, NonFiniteNumbersAreWords) {
  const testing::TemporaryFolder folder;
  MetricWriter writer;
  ASSERT_TRUE(writer.Open(folder.path() + "/m", 0).ok());
  ASSERT_TRUE(
      writer.Write("x", {{"a", std::nan("")}, {"b", -std::numeric_limits<double>::infinity()}})
          .ok());
  EXPECT_EQ(Lines(folder.path() + "/m")[0], R"({"event":"x","a":"nan","b":"-inf"})");
}

}  // namespace
}  // namespace sluice
