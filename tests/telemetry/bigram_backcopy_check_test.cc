// Runs made up after what is published pass every threshold, and each threshold can fail.
#include "telemetry/bigram_backcopy_check.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

SinkRecord Vanilla(int64_t step) {
  const double t = static_cast<double>(step) + 1;
  const double growth = std::max(0.0, 3.2 * std::log(t / 100));
  return {.step = step,
          .values = {{"backcopy_risk", 4.3 / (1 + std::pow(t / 150, 3))},
                     {"bigram_risk", 2 / (1 + std::pow(t / 50, 4))},
                     {"attention_to_start", step < 180 ? .02 : .8},
                     {"delta_logit_type", growth},
                     {"delta_logit_type_trigger", -growth - .1},
                     {"output_value_norm_start", step < 140 ? 9 : 9 / (1 + t / 900)},
                     {"value_ratio", 1 / (1 + t / 900)},
                     {"attention_to_previous", step < 1000 ? .5 : .99},
                     {"no_attention.bigram_risk", 2 / (1 + std::pow(t / 50, 4)) + .001},
                     {"no_attention.backcopy_risk", 7.7}}};
}

SinkRecord Gated(int64_t step) {
  SinkRecord record = Vanilla(step);
  record.values["attention_to_start"] = .03;
  record.values["delta_logit_type"] = .5;
  record.values["output_value_norm_start"] = 5.2;
  record.values["value_ratio"] = .9;
  record.values["gate_non_trigger"] = .05;
  record.values["gate_trigger"] = .9;
  return record;
}

SinkRun MakeRun(const std::string& arm, uint64_t seed, int64_t steps = 10000) {
  SinkRun run{.folder = arm, .arm = arm, .seed = seed, .batch = 32, .length = 256, .records = {}};
  for (int64_t step = 0; step <= steps; step += step < 1000 ? 20 : 1000) {
    run.records.push_back(arm == "vanilla" ? Vanilla(step) : Gated(step));
  }
  return run;
}

std::set<std::string> Failed(const std::vector<SinkRun>& runs) {
  std::set<std::string> failed;
  for (const Verdict& verdict : CheckBigramBackcopy(runs)) {
    if (verdict.gating && !verdict.passed) failed.insert(verdict.check + " " + verdict.arm);
  }
  return failed;
}

TEST(BigramBackcopyCheckTest, RunsLikeThePublishedOnesPassEverything) {
  const std::vector<SinkRun> runs = {MakeRun("vanilla", 1), MakeRun("vanilla", 2),
                                     MakeRun("vga", 1)};
  EXPECT_EQ(Failed(runs), std::set<std::string>());
  std::set<std::string> checks;
  for (const Verdict& verdict : CheckBigramBackcopy(runs)) {
    checks.insert(verdict.check);
    EXPECT_FALSE(verdict.early) << verdict.what;
  }
  EXPECT_EQ(checks.size(), 12u);
}

TEST(BigramBackcopyCheckTest, EachThresholdCanFail) {
  const struct {
    const char *arm, *field;
    double value;
    const char* failed;
  } cases[] = {{"vanilla", "backcopy_risk", .06, "T1 vanilla"},
               {"vanilla", "bigram_risk", .02, "T2 vanilla"},
               {"vanilla", "attention_to_start", .5, "T3 vanilla"},
               {"vanilla", "delta_logit_type", 4, "T4 vanilla"},
               {"vanilla", "delta_logit_type", 4, "T7 vanilla"},
               {"vanilla", "output_value_norm_start", 8, "T5 vanilla"},
               {"vanilla", "value_ratio", .3, "T6 vanilla"},
               {"vanilla", "bigram_risk", .2, "T8 vanilla"},
               {"vanilla", "no_attention.backcopy_risk", 2, "T9 vanilla"},
               {"vanilla", "no_attention.bigram_risk", .5, "T9 vanilla"},
               {"vanilla", "delta_logit_type_trigger", .1, "T10 vanilla"},
               {"vanilla", "attention_to_start", .5, "T12 vanilla - vga"},
               {"vga", "backcopy_risk", .002, "T1 vga"},
               {"vga", "bigram_risk", .006, "T2 vga"},
               {"vga", "attention_to_start", .11, "T3 vga"},
               {"vga", "delta_logit_type", 2.1, "T4 vga"},
               {"vga", "output_value_norm_start", 2, "T5 vga"},
               {"vga", "value_ratio", .3, "T6 vga"},
               {"vga", "attention_to_previous", .9, "T10 vga"},
               {"vga", "gate_non_trigger", .2, "T11 vga"},
               {"vga", "gate_trigger", .4, "T11 vga"}};
  for (const auto& [arm, field, value, failed] : cases) {
    std::vector<SinkRun> runs = {MakeRun("vanilla", 1), MakeRun("vga", 1)};
    for (SinkRun& run : runs) {
      if (run.arm != arm) continue;
      for (size_t i = 1; i < run.records.size(); ++i) run.records[i].values[field] = value;
    }
    EXPECT_THAT(Failed(runs), ::testing::Contains(failed)) << field;
  }
  std::vector<SinkRun> growing = {MakeRun("vanilla", 1), MakeRun("vga", 1)};
  for (SinkRecord& record : growing[1].records) {
    record.values["delta_logit_type"] = .6 * std::log(static_cast<double>(record.step) + 1) - 4;
  }
  EXPECT_THAT(Failed(growing), ::testing::Contains("T7 vga"));
}

TEST(BigramBackcopyCheckTest, WithoutASoftmaxIsReportedOnly) {
  SinkRun run = MakeRun("relu", 1);
  run.records.back().values["output_value_norm_start"] = 20;
  const auto passed = [&](const std::string& check) {
    bool all = true, found = false;
    for (const Verdict& verdict : CheckBigramBackcopy({MakeRun("vanilla", 1), run})) {
      if (verdict.arm != "relu" || verdict.check != check) continue;
      EXPECT_FALSE(verdict.gating);
      found = true;
      all = all && verdict.passed;
    }
    return found && all;
  };
  for (const char* check : {"T1", "T2", "T3", "T5", "T9"}) EXPECT_TRUE(passed(check)) << check;
  run.records.back().values = {{"backcopy_risk", .1},
                               {"bigram_risk", .1},
                               {"attention_to_start", .5},
                               {"output_value_norm_start", 1},
                               {"no_attention.bigram_risk", 1}};
  for (const char* check : {"T1", "T2", "T3", "T5", "T9"}) EXPECT_FALSE(passed(check)) << check;
}

// What is known of one layer by AdamW is not held against anything else.
TEST(BigramBackcopyCheckTest, AnotherModelOrOptimizerIsAnotherArm) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.path() + "/config.yaml")
      << "model: {architecture: bigram_backcopy, attention: {register_tokens: 1}}\n"
         "data: {source: bigram_backcopy}\noptimizer: {name: sgd}\n";
  std::ofstream(folder.path() + "/metrics.jsonl") << "{\"event\":\"bigram_backcopy\",\"step\":0}\n";
  const auto runs = ReadSinkRuns({folder.path()});
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_EQ(runs->at(0).arm, "vanilla_1_registers_12_layers_sgd");
  EXPECT_TRUE(CheckBigramBackcopy(*runs).empty());
  EXPECT_THAT(VerdictsAsMarkdown({}), HasSubstr("None of the runs is of an arm that is judged"));
}

TEST(BigramBackcopyCheckTest, OtherGatesAreOtherArms) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.path() + "/metrics.jsonl") << "{\"event\":\"bigram_backcopy\",\"step\":0}\n";
  const auto arm = [&](const std::string& gate) {
    std::ofstream(folder.path() + "/config.yaml", std::ios::trunc)
        << "model: {architecture: bigram_backcopy, num_hidden_layers: 1, attention: {variant: "
           "gated, gate: {"
        << gate << "}}}\ndata: {source: bigram_backcopy}\n";
    const auto runs = ReadSinkRuns({folder.path()});
    EXPECT_TRUE(runs.ok()) << runs.status();
    return runs->at(0).arm;
  };
  EXPECT_EQ(arm(""), "vga");
  EXPECT_EQ(arm("source: input"), "iga");
  EXPECT_EQ(arm("source: input, site: key"), "iga_key");
  EXPECT_EQ(arm("bias: true"), "vga");
  EXPECT_EQ(arm("granularity: channel, per_head_slice: true"), "vga_channel_slice");
  EXPECT_EQ(arm("predictor: mlp"), "vga_mlp");
  EXPECT_EQ(arm("predictor: free_scalar"), "free_gate");
  EXPECT_EQ(arm("temperature: 2"), "vga_temperature_2");
  EXPECT_EQ(arm("layers: [0]"), "vga_some_layers");
  EXPECT_EQ(arm("bias: true, initial_probability: 0.25, scale: one_at_start"),
            "vga_scale_one_at_start_start_0.25");
}

TEST(BigramBackcopyCheckTest, ShortRunsAreEarlyAndWhatIsMissingIsSaid) {
  SinkRun run = MakeRun("vanilla", 3, 2000);
  for (SinkRecord& record : run.records) record.values.erase("value_ratio");
  const std::vector<Verdict> verdicts = CheckBigramBackcopy({run});
  const std::string table = VerdictsAsMarkdown(verdicts);
  EXPECT_THAT(table, HasSubstr("| vanilla | T6 | ‖W_O v_<s>‖ / mean of the others at 10,000 <= "
                               "0.20 | 3 | 2000 | nan | not measured |"));
  EXPECT_THAT(table, HasSubstr("| vanilla | T3 | attention to <s> at 10,000 >= 0.65 | 3 | 2000 | "
                               "0.8 | pass (early) |"));
  EXPECT_THAT(table, HasSubstr("attention to <s> at 1,000 >= 0.55 | 3 | 1000 | 0.8 | pass |"));
  EXPECT_EQ(nlohmann::json::parse(VerdictsAsJson(verdicts)).size(), verdicts.size());
}

const Verdict& Find(const std::vector<Verdict>& verdicts, const std::string& what, uint64_t seed) {
  for (const Verdict& verdict : verdicts) {
    if (verdict.what.find(what) != std::string::npos && verdict.seed == seed) return verdict;
  }
  ADD_FAILURE() << "no verdict on " << what;
  return verdicts.front();
}

// A seed of vanilla that ended sooner does not stand in for one that did not.
TEST(BigramBackcopyCheckTest, RunsAreComparedAtOneStep) {
  std::vector<SinkRun> runs = {MakeRun("vanilla", 1), MakeRun("vanilla", 2, 4000),
                               MakeRun("vga", 1)};
  const auto excess = [&runs] {
    return Find(CheckBigramBackcopy(runs), "bigram risk - vanilla", 1);
  };
  runs[1].records.back().values["bigram_risk"] = .03;
  runs[2].records.back().values["bigram_risk"] = .02;
  EXPECT_EQ(excess().step, 10000);
  EXPECT_NEAR(excess().figure, .02, 1e-6);
  EXPECT_TRUE(IsFailure(excess()));
  // There is only the shorter one: at its end, early.
  runs.erase(runs.begin());
  EXPECT_EQ(excess().step, 4000);
  EXPECT_TRUE(excess().early);
  EXPECT_NEAR(excess().figure, runs[1].At("bigram_risk", 4000) - .03, 1e-12);
  // None of the same task.
  const SinkRun vanilla = runs[0];
  const auto expect_apart = [&] {
    EXPECT_TRUE(std::isnan(excess().figure));
    for (const Verdict& verdict : CheckBigramBackcopy(runs)) EXPECT_NE(verdict.check, "T12");
    runs[0] = vanilla;
    EXPECT_FALSE(std::isnan(excess().figure));
  };
  runs[0].hidden_size = 64;
  expect_apart();
  runs[0].table = "text.txt";
  expect_apart();
  runs[0].triggers = 5;
  expect_apart();
}

// The strictest of vanilla's seeds is the one that counts.
TEST(BigramBackcopyCheckTest, BesideTheLowestOfVanillasSeeds) {
  std::vector<SinkRun> runs = {MakeRun("vanilla", 1), MakeRun("vanilla", 2), MakeRun("vga", 1)};
  const auto set = [&runs](const std::string& field, double one, double other, double gated) {
    runs[0].records.back().values[field] = one;
    runs[1].records.back().values[field] = other;
    runs[2].records.back().values[field] = gated;
  };
  const auto find = [&](const std::string& what) {
    return Find(CheckBigramBackcopy(runs), what, 1);
  };
  set("bigram_risk", .007, .03, .013);
  EXPECT_NEAR(find("bigram risk - vanilla").figure, .006, 1e-12);
  EXPECT_TRUE(IsFailure(find("bigram risk - vanilla")));
  set("delta_logit_type", 40, 6, 1.6);
  EXPECT_NEAR(find("Δlogit / vanilla").figure, 1.6 / 6, 1e-12);
  EXPECT_TRUE(IsFailure(find("Δlogit / vanilla")));
}

// T8 is told by the step that decides it, whenever that is.
TEST(BigramBackcopyCheckTest, TheOrderOfEventsIsJudgedWhereItIsDecided) {
  SinkRun run = MakeRun("vanilla", 1);
  const auto order = [&run] { return Find(CheckBigramBackcopy({run}), "then attention", 1); };
  const auto set = [&run](const char* field, double before, double from, int64_t step) {
    for (SinkRecord& record : run.records)
      record.values[field] = record.step < step ? before : from;
  };
  set("bigram_risk", 1, .01, 100);
  set("attention_to_start", .02, .8, 300);
  set("backcopy_risk", 4, .01, 3000);
  EXPECT_EQ(order().step, 3000);
  EXPECT_TRUE(order().passed && !order().early);
  // Cut off before it copies: not yet, as long as copies may come.
  const std::vector<SinkRecord> all = run.records;
  run.records.resize(52);  // to 2,000
  EXPECT_EQ(run.last_step(), 2000);
  EXPECT_EQ(order().step, 2000);
  EXPECT_TRUE(!order().passed && order().early);
  run.records = all;
  set("backcopy_risk", 4, .2, 3000);
  EXPECT_TRUE(IsFailure(order()));  // it never does
  // Copies before there is a sink, or the sink before bigrams: decided there.
  set("backcopy_risk", 4, .01, 200);
  EXPECT_EQ(order().step, 200);
  EXPECT_TRUE(IsFailure(order()));
  set("backcopy_risk", 4, .01, 3000);
  set("attention_to_start", .02, .8, 80);
  EXPECT_EQ(order().step, 80);
  EXPECT_TRUE(IsFailure(order()));
  run.records.resize(20);  // to 380
  EXPECT_TRUE(IsFailure(order()));
}

// Each bound at its own figure: a little inside it holds, a little outside it does not, and nothing
// else of the run is another.
TEST(BigramBackcopyCheckTest, EveryBoundIsWhereItIsSaid) {
  const struct {
    const char *arm, *what, *field;
    int64_t step;
    double bound;
    bool at_least;
  } cases[] = {
      {"vanilla", "backcopy risk at 1,000", "backcopy_risk", 1000, .05, false},
      {"vanilla", "backcopy risk at 10,000", "backcopy_risk", 10000, .001, false},
      {"vanilla", "bigram risk at 10,000", "bigram_risk", 10000, .015, false},
      {"vanilla", "attention to <s> at 1,000", "attention_to_start", 1000, .55, true},
      {"vanilla", "attention to <s> at 10,000", "attention_to_start", 10000, .65, true},
      {"vanilla", "Δlogit at 1,000", "delta_logit_type", 1000, 5, true},
      {"vanilla", "Δlogit at 10,000", "delta_logit_type", 10000, 8, true},
      // The largest is 9.
      {"vanilla", "its largest, at 1,000", "output_value_norm_start", 1000, 4.95, false},
      {"vanilla", "its largest, at 10,000", "output_value_norm_start", 10000, 2.7, false},
      {"vanilla", "mean of the others", "value_ratio", 10000, .2, false},
      {"vanilla", "of trigger queries at 10,000 < 0", "delta_logit_type_trigger", 10000, 0, false},
      {"vanilla", "to the token before", "attention_to_previous", 10000, .95, true},
      {"vanilla", "backcopy risk without", "no_attention.backcopy_risk", 10000, 3, true},
      {"vga", "backcopy risk at 10,000", "backcopy_risk", 10000, .001, false},
      {"vga", "largest attention", "attention_to_start", 300, .1, false},
      {"vga", "largest attention", "attention_to_start", 9000, .1, false},
      {"vga", "Δlogit at 10,000", "delta_logit_type", 10000, 2, false},
      {"vga", "at 10,000, >= 0.5", "output_value_norm_start", 10000, 2.6, true},
      {"vga", "/ its first", "output_value_norm_start", 500, 2.6, true},
      {"vga", "mean of the others", "value_ratio", 10000, .4, true},
      {"vga", "to the token before", "attention_to_previous", 10000, .95, true},
      {"vga", "backcopy risk without", "no_attention.backcopy_risk", 10000, 3, true},
      {"vga", "mean gate of other", "gate_non_trigger", 10000, .15, false},
      {"vga", "mean gate of trigger", "gate_trigger", 10000, .5, true},
      {"vga", "their ratio", "gate_trigger", 10000, .25, true}};
  for (const auto& [arm, what, field, step, bound, at_least] : cases) {
    for (const bool inside : {true, false}) {
      SinkRun run = MakeRun(arm, 1);
      // Both sides of the bound, apart from it by a thousandth, or where it is 0 by as much.
      const double margin = bound == 0 ? 1e-3 : 1e-3 * bound;
      for (SinkRecord& record : run.records) {
        if (record.step == step)
          record.values[field] = bound + (inside == at_least ? margin : -margin);
      }
      const Verdict verdict = Find(CheckBigramBackcopy({run}), what, 1);
      EXPECT_EQ(verdict.passed, inside) << arm << ": " << verdict.what << ", " << verdict.figure;
    }
  }
}

// Slope and R² of Δlogit over ln step, and the change of the bigram risk: two figures of several.
TEST(BigramBackcopyCheckTest, GrowthAndAblationAreJudgedByTheirBounds) {
  const auto verdict = [](const std::string& arm, const std::string& what, double slope,
                          double noise) {
    SinkRun run = MakeRun(arm, 1);
    double sign = 1;
    for (SinkRecord& record : run.records) {
      record.values["delta_logit_type"] =
          slope * std::log(static_cast<double>(record.step) + 1) + (sign = -sign) * noise;
    }
    return Find(CheckBigramBackcopy({run}), what, 1);
  };
  EXPECT_TRUE(verdict("vanilla", "its slope", 1.01, 0).passed);
  EXPECT_FALSE(verdict("vanilla", "its slope", .99, 0).passed);
  EXPECT_TRUE(verdict("vanilla", "R²", 2, .4).passed);
  EXPECT_FALSE(verdict("vanilla", "R²", 2, .6).passed);
  EXPECT_NEAR(verdict("vanilla", "R²", 2, .4).figure, .9, .04);
  for (const double sign : {1.0, -1.0}) {
    EXPECT_TRUE(verdict("vga", "size of the slope", sign * .49, 0).passed);
    EXPECT_FALSE(verdict("vga", "size of the slope", sign * .51, 0).passed);
  }
  for (const char* arm : {"vanilla", "vga"}) {
    for (const double change : {.0099, -.0099, .0101, -.0101}) {
      SinkRun run = MakeRun(arm, 1);
      auto& values = run.records.back().values;
      values["no_attention.bigram_risk"] = values["bigram_risk"] + change;
      EXPECT_EQ(Find(CheckBigramBackcopy({run}), "change of the bigram risk", 1).passed,
                std::abs(change) < .01);
    }
  }
}

// What has been above its bound once stays so.
TEST(BigramBackcopyCheckTest, ShortRunsMissAnExtremeForGood) {
  std::vector<SinkRun> runs = {MakeRun("vanilla", 1, 4000), MakeRun("vga", 1, 4000)};
  const auto largest = [&runs] { return Find(CheckBigramBackcopy(runs), "largest attention", 1); };
  EXPECT_TRUE(largest().early && largest().passed);
  runs[1].records[40].values["attention_to_start"] = .24;
  EXPECT_TRUE(IsFailure(largest()));
  const auto smallest = [&runs] { return Find(CheckBigramBackcopy(runs), "smallest ‖W_O v", 1); };
  EXPECT_TRUE(smallest().early && smallest().passed);
  runs[1].records[40].values["output_value_norm_start"] = 2;
  EXPECT_TRUE(IsFailure(smallest()));
}

TEST(BigramBackcopyCheckTest, WhatTheLastRecordLacksIsNotMeasured) {
  std::vector<SinkRun> runs = {MakeRun("vanilla", 1), MakeRun("vga", 2)};
  runs[1].records.back().values.erase("value_ratio");
  runs[1].records.back().values.erase("attention_to_start");
  const auto verdicts = CheckBigramBackcopy(runs);
  EXPECT_TRUE(IsFailure(Find(verdicts, "mean of the others at 10,000 >= 0.40", 2)));
  const Verdict separation = Find(verdicts, "least attention", 0);
  EXPECT_TRUE(std::isnan(separation.figure) && IsFailure(separation));
  // The ablations are measured less often: both sides at their last step.
  for (SinkRecord& record : runs[1].records) {
    if (record.step <= 9000) continue;
    record.values.erase("no_attention.bigram_risk");
    record.values["bigram_risk"] = .5;
  }
  const Verdict change = Find(CheckBigramBackcopy(runs), "without attention < 0.01", 2);
  EXPECT_EQ(change.step, 9000);
  EXPECT_NEAR(change.figure, .001, 1e-9);
}

// The paper's two orders, at the last step that all runs have.
TEST(BigramBackcopyCheckTest, OrdersOfThePaper) {
  std::vector<SinkRun> runs = {MakeRun("vanilla", 1), MakeRun("iga", 1, 3000), MakeRun("vga", 1)};
  const auto order = [&runs](const std::string& what) {
    return Find(CheckBigramBackcopy(runs), what, 0);
  };
  EXPECT_EQ(order("attention to <s>: vanilla").step, 3000);
  EXPECT_TRUE(order("attention to <s>: vanilla").passed);
  EXPECT_TRUE(order("‖W_O v_<s>‖: vanilla").passed);
  EXPECT_FALSE(order("‖W_O v_<s>‖: vanilla").gating);
  SinkRecord& end = runs[1].records.back();
  end.values["attention_to_start"] = .02;
  end.values["output_value_norm_start"] = 6;
  EXPECT_FALSE(order("attention to <s>: vanilla").passed);
  EXPECT_NEAR(order("attention to <s>: vanilla").figure, -.01, 1e-12);
  EXPECT_FALSE(order("‖W_O v_<s>‖: vanilla").passed);
  EXPECT_NEAR(order("‖W_O v_<s>‖: vanilla").figure, .8, 1e-12);
}

TEST(BigramBackcopyCheckTest, ReportsAreReadFromRunFoldersAndWritten) {
  const testing::TemporaryFolder folder;
  const std::string run = folder.path() + "/run";
  std::filesystem::create_directories(run);
  std::ofstream(run + "/config.yaml")
      << "model: {architecture: bigram_backcopy, attention: {variant: gated, gate: {site: key}}}\n"
         "data: {source: bigram_backcopy}\ntraining: {seed: 9}\n";
  EXPECT_THAT(std::string(ReadSinkRuns({run}).status().message()),
              HasSubstr("the run has no record of event bigram_backcopy"));
  std::ofstream(run + "/metrics.jsonl")
      << "{\"event\":\"train\",\"step\":1}\n"
         "{\"event\":\"bigram_backcopy\",\"step\":0,\"backcopy_risk\":4.5,"
         "\"layer_1.gate_start\":0.5,\"layer_6.gate_start\":0.25}\n"
         "{\"event\":\"bigram_backcopy\",\"step\":20,\"bigram_risk\":0.125}\n";
  const auto runs = ReadSinkRuns({run});
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_EQ(runs->at(0).arm, "vga_key_12_layers");
  EXPECT_EQ(runs->at(0).seed, 9u);
  EXPECT_EQ(runs->at(0).At("backcopy_risk", 0), 4.5);
  EXPECT_EQ(runs->at(0).At("gate_start", 7), .25);  // the middle one of twelve layers
  std::vector<SinkRun> judged = *runs;
  judged[0].arm = "vga_key";
  ASSERT_TRUE(WriteSinkReport(*runs, CheckBigramBackcopy(judged), folder.path() + "/report").ok());
  for (const char* name : {"verdicts.md", "verdicts.json", "backcopy_risk.svg"}) {
    EXPECT_GT(std::filesystem::file_size(folder.path() + "/report/" + name), 50u) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/report/value_ratio.svg"));
  std::ifstream csv(folder.path() + "/report/records.csv");
  std::string head, line, end;
  std::getline(csv, head);
  std::getline(csv, line);
  EXPECT_EQ(head,
            "arm,seed,table,triggers,batch_size,hidden_size,sequence_length,step,backcopy_risk,"
            "bigram_risk,"
            "gate_start");
  EXPECT_EQ(line, "vga_key_12_layers,9,\"synthetic\",3,256,768,128,0,4.5,,0.25");
  std::getline(csv, line);
  EXPECT_EQ(line, "vga_key_12_layers,9,\"synthetic\",3,256,768,128,20,,0.125,");
  EXPECT_FALSE(std::getline(csv, end));
}

TEST(BigramBackcopyCheckTest, OnlyThresholdsThatCountAreFailures) {
  const Verdict missed = {.check = "T1", .arm = "vanilla", .what = "", .figure = 4.5};
  EXPECT_TRUE(IsFailure(missed));
  Verdict other = missed;
  other.passed = true;
  EXPECT_FALSE(IsFailure(other));
  other = missed;
  other.early = true;
  EXPECT_FALSE(IsFailure(other));
  other = missed;
  other.gating = false;
  EXPECT_FALSE(IsFailure(other));
  other = missed;
  other.bounded = false;
  EXPECT_FALSE(IsFailure(other));
  other = missed;
  other.figure = std::nan("");  // a claim that is not shown is not met
  EXPECT_TRUE(IsFailure(other));
}

}  // namespace
}  // namespace sluice
