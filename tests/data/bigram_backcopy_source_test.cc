// Samples are functions of the seed and their index, and evaluation has samples of its own.
#include "data/bigram_backcopy_source.h"

#include <set>

#include "core/error.h"
#include "core/philox.h"
#include "data/bigram_backcopy.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "same_batch.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<BigramBackcopySource> Create(const BigramBackcopySettings& settings) {
  auto source = BigramBackcopySource::Create(settings);
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

Batch Fill(BatchSource& source, int64_t first, int64_t count) {
  Batch batch;
  const absl::Status status = source.Fill(first, count, &batch);
  EXPECT_TRUE(status.ok()) << status;
  return batch;
}

std::set<std::vector<int32_t>> Rows(const Batch& batch) {
  std::set<std::vector<int32_t>> rows;
  for (int64_t b = 0; b < batch.B; ++b) {
    rows.emplace(batch.tokens.begin() + b * batch.T, batch.tokens.begin() + (b + 1) * batch.T);
  }
  return rows;
}

TEST(BigramBackcopySourceTest, EveryPositionIsAskedForItsSuccessor) {
  constexpr int64_t T = 48, kFirst = 1'000'000'000'000;
  const auto source = Create({.sequence_length = T, .seed = 5});
  const Batch batch = Fill(*source, kFirst, 7);
  ASSERT_EQ(std::ssize(batch.targets), 7 * T);
  const PhiloxKey key = MakePhiloxKey(5, RandomPurpose::kGeneratedData, 0);
  std::vector<int32_t> expected(T + 1);
  for (int64_t b = 0; b < 7; ++b) {
    source->task().Generate(key, kFirst + b, expected);
    EXPECT_EQ(batch.sample_index[static_cast<size_t>(b)], kFirst + b);
    for (int64_t t = 0; t < T; ++t) {
      const auto i = static_cast<size_t>(b * T + t);
      ASSERT_EQ(batch.tokens[i], expected[static_cast<size_t>(t)]);
      ASSERT_EQ(batch.targets[i], expected[static_cast<size_t>(t + 1)]);
      ASSERT_EQ(batch.target_positions[i], static_cast<int32_t>(i));
    }
  }
  EXPECT_TRUE(batch.segments.empty() && batch.lengths.empty() && batch.documents.empty() &&
              batch.next_sentence_labels.empty());
}

TEST(BigramBackcopySourceTest, AnySplitGivesTheSameRows) {
  const auto source = Create({.sequence_length = 32, .seed = 5});
  const Batch whole = Fill(*source, 100, 12);
  Batch reused;
  for (int64_t first = 0; first < 12; first += 4) {
    ASSERT_TRUE(source->Fill(100 + first, 4, &reused).ok());
    const auto begin = first * 32;
    EXPECT_TRUE(
        std::equal(reused.tokens.begin(), reused.tokens.end(), whole.tokens.begin() + begin));
    EXPECT_TRUE(
        std::equal(reused.targets.begin(), reused.targets.end(), whole.targets.begin() + begin));
  }
  ASSERT_TRUE(source->Fill(100, 12, &reused).ok());
  EXPECT_TRUE(SameBatch(whole, reused));
}

TEST(BigramBackcopySourceTest, TrainingHasNoEndAndFollowsTheSeed) {
  const auto source = Create({.sequence_length = 32, .seed = 5});
  EXPECT_EQ(source->sequences_per_epoch(), 0);
  EXPECT_EQ(source->vocabulary_size(), 65);
  EXPECT_EQ(source->manifest(), nullptr);
  EXPECT_EQ(source->Summary(), "endless generated Bigram-Backcopy sequences of 32 tokens");
  EXPECT_EQ(Rows(Fill(*source, 0, 500)).size(), 500u);
  const auto other = Create({.sequence_length = 32, .seed = 6});
  EXPECT_NE(Fill(*source, 0, 4).tokens, Fill(*other, 0, 4).tokens);
}

TEST(BigramBackcopySourceTest, EvaluationIsFixedAndApartFromTraining) {
  constexpr int64_t kSequences = 300;
  const auto evaluation =
      Create({.sequence_length = 32, .seed = 1000, .evaluation_sequences = kSequences});
  EXPECT_EQ(evaluation->sequences_per_epoch(), kSequences);
  EXPECT_THAT(evaluation->Summary(), HasSubstr("300 generated"));
  const Batch batch = Fill(*evaluation, 0, kSequences);
  const auto other_seed = Create({.sequence_length = 32, .seed = 3, .evaluation_sequences = 512});
  EXPECT_TRUE(SameBatch(batch, Fill(*other_seed, 0, kSequences)));
  // Not even a training with evaluation's own seed sees one of its sequences: of 31 random tokens,
  // two alike are out of the question.
  const auto training = Create({.sequence_length = 32, .seed = 1000});
  std::set<std::vector<int32_t>> rows = Rows(Fill(*training, 0, 5000));
  const size_t trained = rows.size();
  rows.merge(Rows(batch));
  EXPECT_EQ(rows.size(), trained + kSequences);
}

TEST(BigramBackcopySourceTest, SettingsOutOfRange) {
  const auto expect = [](const BigramBackcopySettings& settings, const char* message) {
    const absl::Status status = BigramBackcopySource::Create(settings).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  };
  expect({.sequence_length = 1}, "data.sequence_length is out of range: 1");
  expect({.sequence_length = INT32_MAX}, "data.sequence_length is out of range");
  expect({.sequence_length = 8, .evaluation_sequences = -1}, "data.validation_sequences");
}

}  // namespace
}  // namespace sluice::testing
