#include "report/summary.h"

#include <cmath>

#include "gmock/gmock.h"

namespace sluice {
namespace {

ReportRun MakeRun(const std::string& name, const std::string& variant, const std::string& seed,
                  double perplexity) {
  ReportRun run;
  run.name = name;
  run.variant = variant;
  run.config = {{"name", name},
                {"model.attention.variant", variant},
                {"training.steps", "100"},
                {"training.seed", seed}};
  run.series["train.tokens_per_s"] = {{10, 1000}, {20, 3000}, {100, 2000}};
  run.series["evaluation.wiki.perplexity"] = {{50, 99}, {100, perplexity}};
  return run;
}

size_t Column(const Summary& summary, const std::string& title) {
  for (size_t i = 0; i < summary.columns.size(); ++i) {
    if (summary.columns[i].title == title) return i;
  }
  ADD_FAILURE() << "no column " << title;
  return 0;
}

TEST(SpreadTest, DivisorIsOneLess) {
  EXPECT_EQ(Spread({1, 2, 6}).mean, 3);
  EXPECT_DOUBLE_EQ(*Spread({1, 2, 6}).deviation, std::sqrt(7.));  // (4 + 1 + 9) / 2
  EXPECT_EQ(Spread({.1, .1, .1}).deviation, 0);                   // though 3 · .1 / 3 is not .1
  EXPECT_EQ(Spread({5}).mean, 5);
  EXPECT_FALSE(Spread({5}).deviation.has_value());
  EXPECT_FALSE(Spread({}).mean.has_value());
}

TEST(SummaryTest, RunsThatDifferInTheSeedAloneHaveARowTogether) {
  const Summary summary =
      Summarize({MakeRun("a", "vanilla", "1", 20), MakeRun("b", "vga", "1", 30),
                 MakeRun("c", "vanilla", "2", 24), MakeRun("d", "vanilla", "3", 22)});
  ASSERT_EQ(summary.rows.size(), 5u);
  const size_t perplexity = Column(summary, "perplexity");
  EXPECT_EQ(summary.rows[3].values[perplexity], 22);
  const SummaryRow& group = summary.rows[4];
  EXPECT_EQ(group.runs, 3);
  EXPECT_EQ(group.style, -1);
  EXPECT_EQ(group.variant, "vanilla");
  EXPECT_EQ(group.seed, "1, 2, 3");
  EXPECT_EQ(group.values[perplexity], 22);
  EXPECT_DOUBLE_EQ(*group.deviations[perplexity], 2);
}

TEST(SummaryTest, AnotherDifferenceIsNoSeed) {
  ReportRun longer = MakeRun("b", "vanilla", "2", 20);
  longer.config[2].second = "200";
  EXPECT_EQ(Summarize({MakeRun("a", "vanilla", "1", 20), longer}).rows.size(), 2u);
}

TEST(SummaryTest, ARunThatIsNotAsFarIsInNoGroup) {
  ReportRun behind = MakeRun("c", "vanilla", "3", 90);
  behind.series = {{"evaluation.wiki.perplexity", {{50, 90}}}};
  const Summary summary =
      Summarize({MakeRun("a", "vanilla", "1", 20), MakeRun("b", "vanilla", "2", 22), behind});
  ASSERT_EQ(summary.rows.size(), 4u);
  EXPECT_EQ(summary.rows[3].runs, 2);
  EXPECT_EQ(summary.rows[3].values[Column(summary, "perplexity")], 21);
}

TEST(SummaryTest, RunsWithoutConfigurationAreInNoGroup) {
  ReportRun a = MakeRun("a", "", "", 20), b = MakeRun("b", "", "", 20);
  a.config.clear();
  b.config.clear();
  const Summary summary = Summarize({a, b});
  EXPECT_EQ(summary.rows.size(), 2u);
  EXPECT_EQ(summary.rows[0].planned_steps, 0);
}

TEST(SummaryTest, AGroupsFiguresAreOfThoseThatHaveThem) {
  ReportRun a = MakeRun("a", "vga", "1", 20), b = MakeRun("b", "vga", "2", 30);
  b.series.erase("evaluation.wiki.perplexity");
  const Summary summary = Summarize({a, b});
  const size_t perplexity = Column(summary, "perplexity");
  EXPECT_FALSE(summary.rows[1].values[perplexity].has_value());
  EXPECT_EQ(summary.rows[2].values[perplexity], 20);
  EXPECT_FALSE(summary.rows[2].deviations[perplexity].has_value());
}

TEST(SummaryTest, FiguresComeFromWhereTheySay) {
  ReportRun run = MakeRun("a", "vga", "1", 20);
  run.evaluations = {{.data = "wiki",
                      .bits = {},
                      .perplexity = 19.5,
                      .quantized_perplexity = {},
                      .outliers = {{"average_kurtosis_all_tensors_mixed_rows", 400.},
                                   {"max_inf_norm_feed_forward_output_per_token", 80.}}}};
  run.quantizations = {{.data = "wiki",
                        .bits = "W4A4",
                        .perplexity = 19.5,
                        .quantized_perplexity = 90,
                        .outliers = {}},
                       {.data = "wiki",
                        .bits = "W8A8",
                        .perplexity = 19.5,
                        .quantized_perplexity = 21,
                        .outliers = {}}};
  run.heads["attention.mass_on_first"] = {{50, {{.1, .1}}}, {100, {{.2, .4}, {.6, std::nan("")}}}};
  run.heads["attention.value_norm_ratio"] = {{100, {{.5, .7}}}};
  const Summary summary = Summarize({run});
  const auto value = [&](const std::string& title) {
    return *summary.rows[0].values[Column(summary, title)];
  };
  EXPECT_EQ(value("perplexity"), 19.5);
  EXPECT_EQ(value("quantized perplexity"), 21);
  EXPECT_EQ(value("gap"), 1.5);
  EXPECT_EQ(value("max I+O norm"), 80);
  ReportRun bert = run;
  bert.evaluations[0].outliers = {
      {"average_kurtosis_feed_forward_output_and_norm_per_sequence", 300.},
      {"max_inf_norm_feed_forward_residual_sum_per_sequence", 70.}};
  const Summary other = Summarize({bert});
  EXPECT_EQ(*other.rows[0].values[Column(other, "max I+O norm")], 70);
  EXPECT_EQ(*other.rows[0].values[Column(other, "kurtosis")], 300);
  EXPECT_EQ(value("kurtosis"), 400);
  EXPECT_DOUBLE_EQ(value("sink mass"), .4);
  EXPECT_DOUBLE_EQ(value("value norm ratio"), .6);
  EXPECT_EQ(value("tokens/s"), 2000);  // the median, not the mean
  EXPECT_EQ(summary.rows[0].step, 100);
  EXPECT_EQ(summary.rows[0].planned_steps, 100);
}

TEST(SummaryTest, WithoutQuantizeJsonTheLastProbeCounts) {
  ReportRun run = MakeRun("a", "vga", "1", 20);
  run.series["quantization.wiki.quantized_perplexity"] = {{50, 40}, {100, 23}};
  run.series["quantization.wiki.gap"] = {{50, 10}, {100, 3}};
  const Summary summary = Summarize({run});
  EXPECT_EQ(summary.rows[0].values[Column(summary, "quantized perplexity")], 23);
  EXPECT_EQ(summary.rows[0].values[Column(summary, "gap")], 3);
}

TEST(SummaryTest, BackcopyRunsHaveTheirMiddleLayersSink) {
  ReportRun run = MakeRun("a", "vanilla", "1", 20);
  for (const char* layer : {"0", "1", "2"}) {
    run.series[std::string("bigram_backcopy.layer_") + layer + ".attention_to_start"] = {
        {100, layer[0] - '0'}};
  }
  EXPECT_EQ(MiddleLayer(run), 1);
  const Summary summary = Summarize({run});
  EXPECT_EQ(summary.rows[0].values[Column(summary, "sink mass")], 1);
}

TEST(SummaryTest, EachDataSetHasAColumnAndWhatNobodyHasHasNone) {
  ReportRun run = MakeRun("a", "vga", "1", 20);
  run.series["evaluation.books.perplexity"] = {{100, 30}};
  const Summary summary = Summarize({run});
  EXPECT_EQ(summary.rows[0].values[Column(summary, "perplexity, books")], 30);
  EXPECT_EQ(summary.rows[0].values[Column(summary, "perplexity, wiki")], 20);
  EXPECT_EQ(summary.columns.size(), 3u);  // and tokens/s
}

}  // namespace
}  // namespace sluice
