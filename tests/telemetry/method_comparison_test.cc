// Run folders made up here become the paper's two tables: which metric, which runs, which digits.
#include "telemetry/method_comparison.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/dump.h"
#include "core/error.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"

namespace sluice {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Numbers of which each can be told from the others.
Json Report(double perplexity, double base) {
  return {{"perplexity", perplexity},
          {"outliers",
           {{"metrics",
             {{"max_inf_norm_feed_forward_output_per_token", base + 1},
              {"max_inf_norm_all_tensors_mixed_rows", base + 2},
              {"average_kurtosis_all_tensors_mixed_rows", base + 3},
              {"max_kurtosis_all_tensors_mixed_rows", base + 6},
              {"max_inf_norm_feed_forward_residual_sum_per_sequence", base + 4},
              {"average_kurtosis_feed_forward_output_and_norm_per_sequence", base + 5}}}}}};
}

class MethodComparisonTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }
  static RunConfig Config(const std::string& name, uint64_t seed) {
    RunConfig config;
    config.name = name;
    config.training.seed = seed;
    config.model.architecture = "opt";
    config.model.vocab_size = 2048;
    config.data.train = "t";
    return config;
  }
  void WriteFile(const std::string& path, const std::string& text) const {
    std::ofstream(Path(path), std::ios::trunc) << text;
  }
  // fp32 of perplexity p and INT8 of p + gap; outliers of 0 + k and 100 + k.
  std::string Write(const RunConfig& config, double perplexity, double gap,
                    int64_t step = 2000) const {
    const std::string run = absl::StrCat(config.name, "_", config.training.seed);
    std::filesystem::create_directories(Path(run));
    WriteFile(run + "/config.yaml", DumpRunConfig(config));
    Json evaluated = Report(perplexity, 0);
    evaluated["step"] = step;
    evaluated["data"] = "validation";
    evaluated["precision"] = "fp32";
    evaluated["sequences"] = 100;
    evaluated["batch_size"] = 32;
    Json another = evaluated;  // a second data set's line is not looked at
    another["perplexity"] = 1e9;
    WriteFile(run + "/evaluate.json", evaluated.dump() + "\n" + another.dump() + "\n");
    Json narrow = Report(1e9, 1e9), int8 = Report(perplexity + gap, 100);
    narrow["weight_bits"] = 4;
    narrow["activation_bits"] = int8["weight_bits"] = int8["activation_bits"] = 8;
    const Json quantized = {{"step", step},
                            {"data", "validation"},
                            {"sequences", 100},
                            {"batch_size", 32},
                            {"fp32", Report(perplexity, 0)},
                            {"calibration", {{"data", "train"}, {"sequences", 32}}},
                            {"weight_ranges", "mse"},
                            {"per_channel", config.name == "registers"},
                            {"activation_ranges", "running"},
                            {"activation_method", "asymmetric"},
                            {"percentile", 99.999},
                            {"gate_value", "quantized"},
                            {"gate_position", config.name == "registers" ? "before" : "behind"},
                            {"int16_layer_norms", config.name == "registers" ? "final" : "none"},
                            {"smooth", config.name == "registers" ? 0.5 : 0.0},
                            {"quantized", {narrow, int8}}};
    WriteFile(run + "/quantize.json", quantized.dump() + "\n");
    return Path(run);
  }
  static std::vector<MethodRow> Compare(const std::vector<std::string>& folders) {
    const auto runs = ReadMeasuredRuns(folders);
    EXPECT_TRUE(runs.ok()) << runs.status();
    const auto rows = CompareMethods(*runs);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return *rows;
  }
  static void ExpectError(const absl::Status& status, ExitCode code, const std::string& message) {
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(MethodComparisonTest, ColumnsAreThePapersReductions) {
  RunConfig bert = Config("vanilla", 1);
  bert.model.architecture = "bert";
  const auto rows = Compare({Write(Config("vanilla", 7), 20, 3.5), Write(bert, 10, 1)});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].architecture, "bert");
  EXPECT_EQ(rows[0].norm.mean, 4);
  EXPECT_EQ(rows[0].kurtosis.mean, 5);
  EXPECT_EQ(rows[0].int8_norm.mean, 104);
  EXPECT_EQ(rows[0].int8_kurtosis.mean, 105);
  EXPECT_EQ(rows[1].perplexity.mean, 20);
  EXPECT_EQ(rows[1].int8_perplexity.mean, 23.5);
  EXPECT_EQ(rows[1].int8_gap.mean, 3.5);
  // The paper's OPT tables have two norms: fc2 per token, then the largest of all tensors.
  EXPECT_EQ(rows[1].norm.mean, 1);
  EXPECT_EQ(rows[1].int8_norm.mean, 102);
  EXPECT_EQ(rows[1].kurtosis.mean, 3);
  EXPECT_EQ(rows[1].int8_kurtosis.mean, 103);
  EXPECT_THAT(rows[0].paper, ElementsAre("4.52 ± 0.03", "812.39 ± 141.62", "2987.23 ± 313.21"));
  EXPECT_THAT(rows[1].paper, ElementsAre("15.95 ± 0.03", "1.01 ± 0.04", "2177 ± 274"));
}

TEST_F(MethodComparisonTest, SeedsBecomeMeanAndSampleDeviation) {
  const auto rows = Compare(
      {Write(Config("a", 3), 16, 1), Write(Config("a", 2), 12, 2), Write(Config("a", 1), 11, 6)});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_NEAR(rows[0].perplexity.mean, 13, 1e-12);
  EXPECT_NEAR(rows[0].perplexity.deviation, std::sqrt((9 + 1 + 4) / 2.0), 1e-12);
  EXPECT_NEAR(rows[0].int8_gap.mean, 3, 1e-12);
  EXPECT_EQ(rows[0].perplexity.count, 3);
  EXPECT_EQ(rows[0].runs.front().config.training.seed, 1u);  // by seed, not as they were given
  EXPECT_TRUE(std::isnan(Compare({Write(Config("b", 1), 5, 1)})[0].perplexity.deviation));
}

TEST_F(MethodComparisonTest, MethodsAreWhatTheConfigurationSaysInThePapersOrder) {
  std::vector<std::string> folders;
  const auto add = [&](const char* name, const auto& change) {
    RunConfig config = Config(name, 1);
    change(config.model.attention);
    folders.push_back(Write(config, 10, 1));
  };
  const auto gated = [](const char* source, const char* site) {
    return [=](AttentionConfig& attention) {
      attention.variant = "gated";
      attention.gate.source = source;
      attention.gate.site = site;
    };
  };
  add("a", gated("value", "key"));
  add("b", gated("value", "query"));
  add("c", gated("input", "query"));
  add("d", gated("input", "key"));
  add("e", [](AttentionConfig& attention) { attention.variant = "softmax_plus_one"; });
  add("f", [](AttentionConfig& attention) { attention.variant = "clipped_softmax"; });
  add("g", [](AttentionConfig& attention) {
    attention.variant = "learnable_sink";
    attention.learnable_sink = "token";
  });
  add("h", [](AttentionConfig& attention) { attention.variant = "learnable_sink"; });
  add("i", [](AttentionConfig& attention) { attention.register_tokens = 4; });
  add("j", [](AttentionConfig&) {});
  const auto per_channel = [&](AttentionConfig& attention) {
    gated("value", "query")(attention);
    attention.gate.granularity = "channel";
  };
  add("k", per_channel);
  add("l", [](AttentionConfig& attention) { attention.variant = "relu"; });
  std::vector<std::string> methods, published;
  for (const MethodRow& row : Compare(folders)) {
    methods.push_back(row.method);
    published.push_back(row.paper.empty() ? "" : row.paper.front());
    EXPECT_EQ(row.paper.empty(), row.paper_int8.empty());
  }
  EXPECT_THAT(methods, ElementsAre("Vanilla", "Register Tokens", "Learnable Sink (logit)",
                                   "Learnable Sink (token)", "IGA", "IGA (key site)", "VGA, b",
                                   "VGA (key site)", "VGA, k", "Clipped Softmax",
                                   "Softmax Plus One", "ReLU"));
  EXPECT_THAT(published, ElementsAre("15.95 ± 0.03", "15.85 ± 0.04", "15.92 ± 0.01", "15.92 ± 0.01",
                                     "15.65 ± 0.01", "", "15.49 ± 0.00", "", "", "", "", ""));
}

// Beside a gate that is not the tables' none of their numbers may stand.
TEST_F(MethodComparisonTest, OnlyThePapersMethodsHaveThePapersNumbers) {
  const auto row = [&](const auto& change) {
    static int number = 0;
    RunConfig config = Config(absl::StrCat("other", ++number), 1);
    config.model.attention.variant = "gated";
    change(config.model.attention);
    return Compare({Write(config, 10, 1)}).front();
  };
  EXPECT_EQ(row([](AttentionConfig&) {}).paper.size(), 3u);
  const auto input_with_bias = [](AttentionConfig& attention) {
    attention.gate.source = "input";
    attention.gate.bias = true;
  };
  EXPECT_EQ(row(input_with_bias).paper.size(), 3u);
  using Change = void (*)(AttentionConfig&);
  for (const Change change :
       {Change([](AttentionConfig& attention) { attention.gate.predictor = "mlp"; }),
        Change([](AttentionConfig& attention) { attention.gate.predictor = "free_scalar"; }),
        Change([](AttentionConfig& attention) { attention.gate.layers = {1}; }),
        Change([](AttentionConfig& attention) { attention.gate.temperature = 2; }),
        Change([](AttentionConfig& attention) { attention.gate.scale = "2"; }),
        Change([](AttentionConfig& attention) { attention.gate.per_head_slice = true; }),
        Change([](AttentionConfig& attention) { attention.gate.bias = true; }),
        Change([](AttentionConfig& attention) { attention.register_tokens = 4; }),
        Change([](AttentionConfig& attention) {
          attention.variant = "learnable_sink";
          attention.register_tokens = 4;
        })}) {
    const MethodRow other = row(change);
    EXPECT_THAT(other.paper, IsEmpty()) << other.runs.front().config.name;
    EXPECT_THAT(other.paper_int8, IsEmpty()) << other.runs.front().config.name;
  }
  const auto free = [](AttentionConfig& attention) { attention.gate.predictor = "free_scalar"; };
  EXPECT_EQ(row(free).method, "Free Gate");  // it reads neither values nor inputs
}

TEST_F(MethodComparisonTest, TablesAreThese) {
  RunConfig registers = Config("registers", 1);
  registers.model.attention.register_tokens = 4;
  const auto rows = Compare({Write(Config("vanilla", 1), 20, 3.5),
                             Write(Config("vanilla", 2), 21, 1235), Write(registers, 0.5, -0.25)});
  EXPECT_EQ(TablesAsMarkdown(rows), R"(## OPT

Layers 12, width 768, heads 12, vocabulary 2048, T 128; updates 2000 of 256 sequences, bf16; seeds 1, 2; measured on validation in fp32. ± is the standard deviation over seeds (n - 1).

INT8: weights by mse, one range a channel; activations asymmetric, running ranges of percentile 99.999, calibrated on 32 sequences; gates before the context's quantizer; 16 bits for LayerNorms: final; smoothed by 0.5 | weights by mse, one range a tensor; activations asymmetric, running ranges of percentile 99.999, calibrated on 32 sequences.

Table 1: OPT before quantization

| Method | Perplexity | Max I+O Norm | Avg. kurtosis | paper: Perplexity | paper: Max I+O Norm | paper: Avg. kurtosis |
| --- | --- | --- | --- | --- | --- | --- |
| Vanilla | 20.50 ± 0.71 | 1.00 ± 0.00 | 3.00 ± 0.00 | 15.95 ± 0.03 | 1.01 ± 0.04 | 2177 ± 274 |
| Register Tokens | 0.500 | 1.00 | 3.00 | 15.85 ± 0.04 | 0.75 ± 0.03 | 8322.68 ± 1197.74 |

Table 2: OPT after INT8 quantization (W8A8, simulated)

| Method | INT8 Perplexity | Δ Perplexity (vs. FP32) | Max I+O Norm | Avg. kurtosis | paper: INT8 Perplexity | paper: Δ Perplexity (vs. FP32) | paper: Max I+O Norm | paper: Avg. kurtosis |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| Vanilla | 639.75 ± 871.51 | +619.25 | 102.00 ± 0.00 | 103.00 ± 0.00 | 43.78 ± 6.81 | +27.83 | 657.77 ± 240.89 | 6548.18 ± 1567.07 |
| Register Tokens | 0.250 | -0.250 | 102.00 | 103.00 | 123.81 ± 91.77 | +107.96 | 835.33 ± 274.83 | 6646.24 ± 3735.05 |

Each run: perplexity, and outliers before quantization

| Method | Seed | Updates | FP32 | INT8 | Δ | Norm of Table 2, FP32 | Max kurtosis, FP32 |
| --- | --- | --- | --- | --- | --- | --- | --- |
| Vanilla | 1 | 2000 | 20.000 | 23.500 | +3.500 | 2.00 | 6.00 |
| Vanilla | 2 | 2000 | 21.000 | 1256.000 | +1235.000 | 2.00 | 6.00 |
| Register Tokens | 1 | 2000 | 0.500 | 0.250 | -0.250 | 2.00 | 6.00 |
)");
  const std::string csv = RunsAsCsv(rows);
  EXPECT_THAT(
      csv,
      HasSubstr(
          "architecture,method,name,seed,step,perplexity,int8_perplexity,"
          "average_kurtosis_all_tensors_mixed_rows,int8_average_kurtosis_all_tensors_mixed_rows,"));
  EXPECT_THAT(csv, HasSubstr("\nopt,\"Vanilla\",vanilla,2,2000,21,1256,3,103,"));
  const Json json = Json::parse(TablesAsJson(rows));
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["int8_difference"]["mean"], 619.25);
  EXPECT_EQ(json[0]["runs"][1]["int8"]["outliers"]["max_inf_norm_all_tensors_mixed_rows"], 102);
  EXPECT_TRUE(json[1]["perplexity"]["deviation"].is_null());
}

TEST_F(MethodComparisonTest, SeedsOfARowDifferInTheirSeedAlone) {
  const auto compare = [&](const std::vector<std::string>& folders) {
    const auto runs = ReadMeasuredRuns(folders);
    EXPECT_TRUE(runs.ok()) << runs.status();
    return CompareMethods(*runs).status();
  };
  const std::string first = Write(Config("a", 1), 10, 1);
  RunConfig other = Config("a", 2);
  other.runtime.threads = 2;
  other.data.train = "elsewhere/t";
  other.training.log_every = 7;
  EXPECT_TRUE(compare({first, Write(other, 11, 1)}).ok());
  other.model.hidden_size = 384;
  other.training.global_batch_size = 64;
  ExpectError(compare({first, Write(other, 11, 1)}), ExitCode::kUsage,
              absl::StrCat("two runs of the name a differ in more than their seed: ", Path("a_2")));
  const absl::Status both = compare({first, Write(other, 11, 1)});
  EXPECT_THAT(std::string(both.message()), HasSubstr("; model.hidden_size 768 and 384"));
  EXPECT_THAT(std::string(both.message()), HasSubstr("; training.global_batch_size 256 and 64"));
  ExpectError(compare({first, Write(Config("a", 2), 11, 1, /*step=*/1000)}), ExitCode::kUsage,
              "; updates 2000 and 1000");
  // How INT8 came to be counts as well: the mean is of one way.
  auto runs = ReadMeasuredRuns({first, Write(Config("a", 2), 11, 1)});
  ASSERT_TRUE(runs.ok());
  runs->back().quantization = "another way";
  ExpectError(CompareMethods(*runs).status(), ExitCode::kUsage, " and another way");
  runs->back().quantization = runs->front().quantization;
  runs->back().data = "other text";
  ExpectError(CompareMethods(*runs).status(), ExitCode::kUsage,
              "; measured on validation and other text");
}

TEST_F(MethodComparisonTest, WhatIsNotMeasuredOrDoesNotFitIsAnError) {
  const std::string run = Write(Config("vga", 1), 10, 1);
  const auto error = [&] { return ReadMeasuredRuns({run}).status(); };
  ASSERT_TRUE(error().ok());
  ExpectError(CompareMethods({*ReadMeasuredRuns({run, run})}).status(), ExitCode::kUsage,
              "two runs of one name and seed");
  WriteFile("vga_1/quantize.json", Json{{"step", 1000}, {"data", "validation"}}.dump());
  ExpectError(error(), ExitCode::kData, "step 2000 and 1000");
  WriteFile("vga_1/quantize.json", Json{{"step", 2000}, {"data", "other"}}.dump());
  ExpectError(error(), ExitCode::kData, "data validation and other");
  WriteFile(
      "vga_1/quantize.json",
      Json{{"step", 2000}, {"data", "validation"}, {"sequences", 100}, {"batch_size", 32}}.dump());
  ExpectError(error(), ExitCode::kData, "the report has no W8A8");
  WriteFile("vga_1/quantize.json", "{\"step\"");
  ExpectError(error(), ExitCode::kData, "not what the program prints");
  // Each of what must be one in both.
  const auto change = [&](const std::string& file, const char* field, const Json& value) {
    Write(Config("vga", 1), 10, 1);
    std::ifstream input(Path(file));
    std::string line;
    std::getline(input, line);
    Json report = Json::parse(line);
    report[field] = value;
    WriteFile(file, report.dump());
  };
  change("vga_1/quantize.json", "sequences", 64);
  ExpectError(error(), ExitCode::kData, "sequences 100 and 64");
  change("vga_1/quantize.json", "sequence_length", 64);
  ExpectError(error(), ExitCode::kData, "rows of different lengths");
  change("vga_1/evaluate.json", "batch_size", 4);
  ExpectError(error(), ExitCode::kData, "batch_size 4 and 32");
  change("vga_1/evaluate.json", "precision", "bf16");
  ExpectError(error(), ExitCode::kData, "evaluate.json is not of fp32");
  change("vga_1/quantize.json", "fp32", Report(10.02, 0));
  ExpectError(error(), ExitCode::kData, "perplexity 10 and 10.02");
  Write(Config("vga", 1), 10, 1);
  WriteFile("vga_1/evaluate.json", Json{{"step", 2000},
                                        {"data", "validation"},
                                        {"sequences", 100},
                                        {"batch_size", 32},
                                        {"precision", "fp32"},
                                        {"perplexity", 3}}
                                       .dump());
  ExpectError(error(), ExitCode::kData, "the report has no outlier metrics");
  std::filesystem::remove(Path("vga_1/evaluate.json"));
  ExpectError(error(), ExitCode::kData,
              absl::StrCat("sluice evaluate ", run, " --precision fp32 --json"));
  ExpectError(ReadMeasuredRuns({Path("absent")}).status(), ExitCode::kData, "absent");
  RunConfig task = Config("task", 1);
  task.model.architecture = "bigram_backcopy";
  task.data.source = "bigram_backcopy";
  ExpectError(ReadMeasuredRuns({Write(task, 10, 1)}).status(), ExitCode::kUsage,
              "`sluice check bigram-backcopy` is for");
}

}  // namespace
}  // namespace sluice
