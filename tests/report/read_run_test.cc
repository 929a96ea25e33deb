#include "report/read_run.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "gmock/gmock.h"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ReadRunTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::filesystem::path file = std::filesystem::path(folder_.path()) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file.parent_path().string();
  }
  std::string At(const std::string& name) const { return folder_.path() + "/" + name; }

  void ExpectRefused(const std::string& folder, const std::string& what) {
    const auto runs = ReadReportRuns({folder});
    EXPECT_EQ(ExitCodeOf(runs.status()), ExitCode::kData);
    EXPECT_THAT(std::string(runs.status().message()), HasSubstr(what));
    EXPECT_THAT(std::string(runs.status().message()), HasSubstr(folder));
  }

  testing::TemporaryFolder folder_;
};

constexpr char kTrain[] = "{\"event\":\"train\",\"step\":3,\"loss\":6}\n";

TEST_F(ReadRunTest, WhatIsNoRunFolderIsRefusedByName) {
  ExpectRefused(At("absent"), "no such run folder");
  std::filesystem::create_directories(At("empty"));
  ExpectRefused(At("empty"), "it has neither config.yaml nor metrics.jsonl");
  Write("file", "");
  ExpectRefused(At("file"), "is no run folder but a file");
  Write("checkpoint/config.yaml", "name: a\n");
  Write("checkpoint/manifest.yaml", "");
  ExpectRefused(At("checkpoint"), "is a checkpoint or data");
}

TEST_F(ReadRunTest, ARunThatHasOnlyBegunIsShownWithNotes) {
  const auto runs = ReadReportRuns({Write("a/config.yaml", "name: a\n")});
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_THAT(runs->at(0).notes, ElementsAre("metrics.jsonl is missing"));
  EXPECT_EQ(runs->at(0).last_step(), 0);
}

TEST_F(ReadRunTest, MetricsWithoutConfigurationAreEnough) {
  const auto runs = ReadReportRuns({Write("a/metrics.jsonl", kTrain)});
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_THAT(runs->at(0).notes, ElementsAre("config.yaml is missing"));
  EXPECT_EQ(runs->at(0).last_step(), 3);
}

TEST_F(ReadRunTest, DamagedFilesBecomeNotes) {
  const std::string folder = Write("a/config.yaml", "name: [\n");
  Write("a/metrics.jsonl", kTrain);
  Write("a/evaluate.json", "{\"data\":");
  Write("a/quantize.json", "{\"data\":\"x\"}");
  Write("a/attention_maps/step_00000009.json", "{");
  Write("a/attention_maps/step_00000003.json",
        R"({"step":3,"sequences":[{"tokens":["a"],"layers":[[[[1]]]]},)"
        R"({"index":40,"tokens":["b"],"layers":[[[[1]]]]},)"
        R"({"index":1e300,"tokens":["b"],"layers":[[[[1]]]]}]})");
  Write("a/checkpoints/step_00000003/gates.h5", "no HDF5");
  const auto runs = ReadReportRuns({folder});
  ASSERT_TRUE(runs.ok()) << runs.status();
  for (const char* name :
       {"config.yaml", "evaluate.json", "quantize.json", "step_00000009.json", "gates.h5"}) {
    EXPECT_THAT(runs->at(0).notes, Contains(HasSubstr(name)));
  }
  EXPECT_EQ(runs->at(0).notes.size(), 5u);
  ASSERT_TRUE(runs->at(0).maps.has_value());  // the newest that can be read
  EXPECT_EQ(runs->at(0).maps->step, 3);
  ASSERT_EQ(runs->at(0).maps->sequences.size(), 3u);
  EXPECT_EQ(runs->at(0).maps->sequences[0].index, 0);  // older files do not say
  EXPECT_EQ(runs->at(0).maps->sequences[1].index, 40);
  EXPECT_EQ(runs->at(0).maps->sequences[2].index, 2);  // that is no index
}

TEST_F(ReadRunTest, BitsOfLayerNormsAreSaid) {
  const std::string folder = Write("a/metrics.jsonl", kTrain);
  const char* quantized =
      R"("fp32":{"perplexity":2},"quantized":[{"weight_bits":8,"activation_bits":8}]})";
  Write("a/quantize.json", absl::StrCat(R"({"int16_layer_norms":"none",)", quantized, "\n",
                                        R"({"int16_layer_norms":"final",)", quantized, "\n",
                                        R"({"int16_layer_norms":null,)", quantized, "\n"));
  const auto runs = ReadReportRuns({folder});
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->at(0).quantizations.size(), 3u);
  EXPECT_EQ(runs->at(0).quantizations[0].bits, "W8A8");
  EXPECT_EQ(runs->at(0).quantizations[1].bits, "W8A8, LayerNorms W16A16: final");
  EXPECT_EQ(runs->at(0).quantizations[2].bits, "W8A8");
}

TEST_F(ReadRunTest, TheSameFolderTwiceIsOneRun) {
  const std::string folder = Write("a/metrics.jsonl", kTrain);
  const auto runs = ReadReportRuns({folder, folder + "/", folder + "/../a"});
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 1u);
  EXPECT_THAT(runs->at(0).notes, Contains(HasSubstr("was given twice")));
}

TEST_F(ReadRunTest, NamesAreAsShortAsTheyCanBe) {
  const auto runs =
      ReadReportRuns({Write("x/vga/metrics.jsonl", kTrain), Write("y/vga/metrics.jsonl", kTrain),
                      Write("y/vanilla/metrics.jsonl", kTrain)});
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_EQ(runs->at(0).name, "x/vga");
  EXPECT_EQ(runs->at(1).name, "y/vga");
  EXPECT_EQ(runs->at(2).name, "vanilla");
}

TEST_F(ReadRunTest, ResultsAreReadByLineListOrWhole) {
  const std::string one =
      R"({"data":"wiki","step":7,"perplexity":20.5,"outliers":{"metrics":{"average_kurtosis_x":9}}})";
  for (const std::string& text :
       {absl::StrCat(one, "\n", one, "\n"), absl::StrCat("[", one, ",\n", one, "]")}) {
    const auto runs = ReadReportRuns({Write("a/metrics.jsonl", kTrain)});
    Write("a/evaluate.json", text);
    const auto again = ReadReportRuns({At("a")});
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(again->at(0).evaluations.size(), 2u) << text;
    EXPECT_EQ(again->at(0).evaluations[1].perplexity, 20.5);
    EXPECT_EQ(again->at(0).evaluations[1].outliers.at("average_kurtosis_x"), 9);
  }
}

TEST_F(ReadRunTest, ResultsOfAnEarlierStepAreNoted) {
  const std::string folder = Write("a/config.yaml", "name: a\n");
  Write("a/metrics.jsonl", kTrain);
  Write("a/evaluate.json", R"({"data":"wiki","step":2,"perplexity":20.5})");
  Write(
      "a/quantize.json",
      R"({"data":"wiki","step":3,"fp32":{},"quantized":[{"weight_bits":8,"activation_bits":8}]})");
  const auto runs = ReadReportRuns({folder});
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_THAT(runs->at(0).notes,
              ElementsAre("evaluate.json is of step 2, the run has come to step 3"));
}

TEST_F(ReadRunTest, QuantizationsAreOneForEachBitWidths) {
  const std::string folder = Write("a/metrics.jsonl", kTrain);
  Write(
      "a/quantize.json",
      R"({"data":"wiki","step":7,"fp32":{"perplexity":20},"quantized":[)"
      R"({"weight_bits":8,"activation_bits":8,"perplexity":21},{"weight_bits":4,"activation_bits":8,"perplexity":null}]})");
  const auto runs = ReadReportRuns({folder});
  ASSERT_TRUE(runs.ok()) << runs.status();
  const std::vector<ReportEvaluation>& quantizations = runs->at(0).quantizations;
  ASSERT_EQ(quantizations.size(), 2u);
  EXPECT_EQ(quantizations[0].bits, "W8A8");
  EXPECT_EQ(quantizations[0].perplexity, 20);
  EXPECT_EQ(quantizations[0].quantized_perplexity, 21);
  EXPECT_EQ(quantizations[1].bits, "W4A8");
  EXPECT_FALSE(quantizations[1].quantized_perplexity.has_value());
}

}  // namespace
}  // namespace sluice
