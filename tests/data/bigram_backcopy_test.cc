// The table against golden numbers, the exact statistics against those of an independent program,
// and what is drawn against the exact statistics.
#include "data/bigram_backcopy.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

const BigramBackcopy& Task() {
  static const BigramBackcopy task = BigramBackcopy::Synthetic();
  return task;
}

constexpr int32_t kTokens = 64;

// Goldens were printed by another program, with as many digits as stand here.
TEST(BigramBackcopyTest, TableIsTheGoldenOne) {
  EXPECT_NEAR(Task().Marginal(0), .136992, 5e-7);
  EXPECT_NEAR(Task().Marginal(1), .100236, 5e-7);
  EXPECT_NEAR(Task().Marginal(2), .077655, 5e-7);
  EXPECT_NEAR(Task().Marginal(3), .062581, 5e-7);
  EXPECT_NEAR(Task().Conditional(5, 0), .28094016911, 5e-12);
  EXPECT_NEAR(Task().Conditional(5, 1), .01240660450, 5e-12);
  EXPECT_NEAR(Task().Conditional(5, 2), .01458208897, 5e-12);
  EXPECT_NEAR(Task().Conditional(5, 3), .01212338479, 5e-12);
  EXPECT_NEAR(Task().Conditional(63, 60), 1.16104e-4, 5e-10);
  EXPECT_NEAR(Task().Conditional(63, 61), 2.31270e-5, 5e-11);
  EXPECT_NEAR(Task().Conditional(63, 62), 3.13925e-4, 5e-10);
  EXPECT_NEAR(Task().Conditional(63, 63), 5.24686e-5, 5e-11);
}

TEST(BigramBackcopyTest, RowsAreDistributionsWithLimitedTriggers) {
  double smallest = 1, largest = 0, largest_loop = 0, first_sum = 0;
  for (int32_t a = 0; a < kTokens; ++a) {
    first_sum += Task().First(a);
    double sum = 0, triggers = 0;
    for (int32_t b = 0; b < kTokens; ++b) {
      ASSERT_GT(Task().Conditional(a, b), 0);
      sum += Task().Conditional(a, b);
      if (Task().IsTrigger(b)) triggers += Task().Conditional(a, b);
    }
    EXPECT_NEAR(sum, 1, 64 * 0x1p-52) << a;
    if (Task().IsTrigger(a)) continue;
    smallest = std::min(smallest, triggers);
    largest = std::max(largest, triggers);
    largest_loop = std::max(largest_loop, Task().Conditional(a, a));
  }
  EXPECT_NEAR(smallest, .0034, 5e-5);
  EXPECT_NEAR(largest, .9, 1e-12);
  EXPECT_NEAR(largest_loop, .0868, 5e-5);
  EXPECT_NEAR(first_sum, 1, 64 * 0x1p-52);
  for (int32_t trigger : {0, 1, 2}) EXPECT_EQ(Task().First(trigger), 0);
}

TEST(BigramBackcopyTest, ExactStatisticsAreTheGoldenOnes) {
  const struct {
    int64_t T;
    double non_trigger, bigram_entropy, loss_floor;
    double digits;  // half a unit of the last digit of the fraction
  } goldens[] = {{64, .74908, 2.23763, 1.70745, 5e-6},
                 {128, .7442, 2.22859, 1.67429, 5e-5},
                 {256, .74175, 2.22398, 1.65756, 5e-6}};
  for (const auto& golden : goldens) {
    SCOPED_TRACE(golden.T);
    const BigramBackcopyStatistics exact = ExactStatistics(Task(), golden.T);
    EXPECT_NEAR(exact.non_trigger_fraction, golden.non_trigger, golden.digits);
    EXPECT_NEAR(exact.bigram_entropy, golden.bigram_entropy, 5e-6);
    EXPECT_NEAR(exact.loss_floor, golden.loss_floor, 5e-6);
    EXPECT_NEAR(exact.first_token_entropy, 3.67782, 5e-6);
  }
}

TEST(BigramBackcopyTest, SequencesFollowTheRule) {
  const PhiloxKey key = MakePhiloxKey(3, RandomPurpose::kGeneratedData, 0);
  std::vector<int32_t> tokens(65);
  int64_t copies = 0;
  for (int64_t sample = 0; sample < 2000; ++sample) {
    Task().Generate(key, sample, tokens);
    ASSERT_EQ(tokens[0], Task().start_token());
    ASSERT_FALSE(Task().IsTrigger(tokens[1]));
    for (size_t i = 1; i < tokens.size(); ++i) {
      ASSERT_TRUE(tokens[i] >= 0 && tokens[i] < kTokens) << tokens[i];
      if (i < 2 || !Task().IsTrigger(tokens[i - 1])) continue;
      ASSERT_EQ(tokens[i], tokens[i - 2]);
      ASSERT_FALSE(Task().IsTrigger(tokens[i]));
      ++copies;
    }
  }
  EXPECT_GT(copies, 20000);
  std::vector<int32_t> shorter(20);  // a prefix is the same whatever the length
  Task().Generate(key, 1999, shorter);
  EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), tokens.begin()));
}

struct Mean {
  double sum = 0, squares = 0;
  int64_t count = 0;
  void Add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double mean() const { return sum / static_cast<double>(count); }
  double variance() const { return squares / static_cast<double>(count) - mean() * mean(); }
};

// Rows are independent, so the mean of a row's value over N rows is normal with deviation s/√N;
// beyond five of them lie 6e-7 of all seeds. Other laws do not fit: were the start's row drawn with
// triggers, or the copy left out, the means would be off by dozens of deviations.
void ExpectMean(const Mean& rows, double exact, const char* what) {
  const double bound = 5 * std::sqrt(rows.variance() / static_cast<double>(rows.count));
  EXPECT_NEAR(rows.mean(), exact, bound) << what;
  EXPECT_LT(bound, 0.01) << what;  // narrow enough to mean something
}

void ExpectExactStatistics(const BigramBackcopy& task) {
  constexpr int64_t T = 64, kRows = 60000;
  const PhiloxKey key = MakePhiloxKey(11, RandomPurpose::kGeneratedData, 0);
  std::vector<int32_t> tokens(T + 1);
  Mean non_triggers, loss;
  for (int64_t sample = 0; sample < kRows; ++sample) {
    task.Generate(key, sample, tokens);
    double nats = -std::log(task.First(tokens[1]));
    int64_t plain = 0;
    for (size_t i = 1; i < T; ++i) {
      if (task.IsTrigger(tokens[i])) continue;
      ++plain;
      nats -= std::log(task.Conditional(tokens[i], tokens[i + 1]));
    }
    non_triggers.Add(static_cast<double>(plain) / (T - 1));
    loss.Add(nats / T);
  }
  const BigramBackcopyStatistics exact = ExactStatistics(task, T);
  ExpectMean(non_triggers, exact.non_trigger_fraction, "positions without a trigger");
  ExpectMean(loss, exact.loss_floor, "negative log-likelihood a target");
}

TEST(BigramBackcopyTest, WhatIsDrawnHasTheExactStatistics) { ExpectExactStatistics(Task()); }

// Of a text, too: pairs that never occur, and a last character that nothing follows.
TEST(BigramBackcopyTest, WhatIsDrawnOfATextHasTheExactStatistics) {
  const char* text =
      "Water that waits behind a gate weighs on it. The keeper knows when to open: a little first, "
      "then more, until both sides stand level; only then do boats pass through. Who opens at once "
      "floods the lock!";
  for (const int64_t triggers : {1, 3, 5}) {
    SCOPED_TRACE(triggers);
    const auto task = BigramBackcopy::FromText(text, triggers, "text");
    ASSERT_TRUE(task.ok()) << task.status();
    ExpectExactStatistics(*task);
  }
}

TEST(BigramBackcopyTest, OtherCharactersAreAnotherText) {
  const auto hash = [](const std::string& text, int64_t triggers) {
    return BigramBackcopy::FromText(text, triggers, "text")->TextHash();
  };
  EXPECT_EQ(hash("banana, bandana", 2), hash("banana, bandana", 2));
  EXPECT_NE(hash("banana, bandana", 2), hash("banana, bandana", 1));
  EXPECT_NE(hash("banana, bandana", 2), hash("banana, bandanab", 2));  // the same characters
  EXPECT_NE(hash("banana, bandana", 2), hash("banana. bandana", 2));
  EXPECT_GT(hash("banana, bandana", 2), 0);
  EXPECT_EQ(Task().TextHash(), 0);
}

// Pearson's χ² of the successors of the most frequent ordinary token: 63 degrees of freedom, mean
// 63 and variance 126; six deviations above lies less than 1e-6 of it.
TEST(BigramBackcopyTest, SuccessorsHaveTheirProbabilities) {
  const PhiloxKey key = MakePhiloxKey(12, RandomPurpose::kGeneratedData, 0);
  constexpr int32_t kToken = 3;
  std::vector<int32_t> tokens(65);
  std::vector<double> counts(kTokens);
  double all = 0;
  for (int64_t sample = 0; sample < 60000; ++sample) {
    Task().Generate(key, sample, tokens);
    for (size_t i = 1; i + 1 < tokens.size(); ++i) {
      if (tokens[i] != kToken) continue;
      ++counts[static_cast<size_t>(tokens[i + 1])];
      ++all;
    }
  }
  // Cells with fewer than five expected are put together.
  double chi_squared = 0, rare_expected = 0, rare_counted = 0;
  int cells = 0;
  for (int32_t b = 0; b < kTokens; ++b) {
    const double expected = all * Task().Conditional(kToken, b);
    const double counted = counts[static_cast<size_t>(b)];
    if (expected < 5) {
      rare_expected += expected;
      rare_counted += counted;
      continue;
    }
    chi_squared += (counted - expected) * (counted - expected) / expected;
    ++cells;
  }
  if (rare_expected > 0) {
    chi_squared += (rare_counted - rare_expected) * (rare_counted - rare_expected) / rare_expected;
  }
  EXPECT_GT(all, 100000);
  EXPECT_GT(cells, 50);
  EXPECT_LT(chi_squared, 63 + 6 * std::sqrt(126.0));
}

// "banana, bandana": a 6, n 4, b 2, "," 1, " " 1, d 1.
TEST(BigramBackcopyTest, ATextsCharactersAreCounted) {
  const auto task = BigramBackcopy::FromText("banana, bandana", 2, "text");
  ASSERT_TRUE(task.ok()) << task.status();
  ASSERT_EQ(task->vocabulary_size(), 7);
  const char* names[] = {" ", ",", "a", "b", "d", "n", "<s>"};
  for (int32_t i = 0; i < 7; ++i) EXPECT_EQ(task->Name(i), names[i]);
  EXPECT_DOUBLE_EQ(task->Marginal(2), 6.0 / 15);
  // What follows an a: n three times, "," once; the last a is followed by nothing.
  EXPECT_DOUBLE_EQ(task->Conditional(2, 5), 4.0 / 5);
  EXPECT_DOUBLE_EQ(task->Conditional(2, 1), 1.0 / 5);
  EXPECT_DOUBLE_EQ(task->Conditional(5, 2), 3.0 / 4);
  EXPECT_DOUBLE_EQ(task->Conditional(5, 4), 1.0 / 4);
  EXPECT_DOUBLE_EQ(task->Conditional(0, 3), 1);
  for (int32_t token : {2, 5}) {
    EXPECT_TRUE(task->IsTrigger(token));
    EXPECT_EQ(task->First(token), 0);
  }
  for (int32_t token : {0, 1, 3, 4, 6}) EXPECT_FALSE(task->IsTrigger(token));
  EXPECT_DOUBLE_EQ(task->First(3), 2.0 / 5);
}

TEST(BigramBackcopyTest, CharactersAreCodePointsAndTheLastOneMayBeAlone) {
  const auto task = BigramBackcopy::FromText("aäaäaäb€a!", 1, "text");
  ASSERT_TRUE(task.ok()) << task.status();
  ASSERT_EQ(task->ordinary_tokens(), 5);  // ! a b ä €
  EXPECT_EQ(task->Name(3), "ä");
  EXPECT_DOUBLE_EQ(task->Conditional(3, 1), 2.0 / 3);
  for (int32_t b = 0; b < 5; ++b) {
    EXPECT_DOUBLE_EQ(task->Conditional(0, b), task->Marginal(b));  // nothing follows "!"
  }
}

TEST(BigramBackcopyTest, TextsThatGiveNoTableAreRefused) {
  const auto message = [](absl::string_view text) {
    return std::string(BigramBackcopy::FromText(text, 3, "NAME").status().message());
  };
  const std::string few =
      "text has too few or too many different characters for a bigram table: NAME: ";
  EXPECT_EQ(message(""), few + "0, wanted 5 (data.triggers + 2) to 8192");
  EXPECT_EQ(message("abcdabcd"), few + "4, wanted 5 (data.triggers + 2) to 8192");
  EXPECT_EQ(message("abc\xff"), "text is not UTF-8: NAME: byte 3");
  EXPECT_FALSE(BigramBackcopy::Open("no/such/text", 3).ok());
  EXPECT_FALSE(BigramBackcopy::Open("synthetic", 63).ok());
  EXPECT_TRUE(BigramBackcopy::Open("synthetic", 5).ok());
}

TEST(BigramBackcopyTest, MoreTriggersMeanMoreCopies) {
  const BigramBackcopy five = BigramBackcopy::Synthetic(5);
  for (int32_t token = 0; token < 5; ++token) EXPECT_TRUE(five.IsTrigger(token));
  EXPECT_FALSE(five.IsTrigger(5));
  EXPECT_EQ(five.Conditional(7, 9), Task().Conditional(7, 9));
  const BigramBackcopyStatistics more = ExactStatistics(five, 64);
  const BigramBackcopyStatistics fewer = ExactStatistics(Task(), 64);
  EXPECT_LT(more.non_trigger_fraction, fewer.non_trigger_fraction);
  EXPECT_LT(more.loss_floor, fewer.loss_floor);
}

}  // namespace
}  // namespace sluice
