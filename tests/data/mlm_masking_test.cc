// Shares of MLM masks within bounds of their distribution, and what must hold exactly.
#include "data/mlm_masking.h"

#include <cmath>

#include "gtest/gtest.h"

namespace sluice {
namespace {

constexpr int64_t kVocabulary = 1000;
constexpr SpecialTokenIds kSpecial{.pad = 0, .unk = 1, .cls = 2, .sep = 3, .mask = 4};

MlmMaskingSettings Settings() { return {.vocabulary_size = kVocabulary, .special = kSpecial}; }

struct Masked {
  std::vector<int32_t> row;
  std::vector<int32_t> positions;
  std::vector<int32_t> targets;
};

Masked Apply(const MlmMasking& masking, int64_t sample, const std::vector<int32_t>& row,
             int32_t first_position = 0) {
  Masked masked{.row = row, .positions = {}, .targets = {}};
  masking.Apply(sample, first_position, masked.row, &masked.positions, &masked.targets);
  return masked;
}

std::vector<int32_t> WordRow(int64_t length) {
  std::vector<int32_t> row;
  for (int64_t t = 0; t < length; ++t) row.push_back(static_cast<int32_t>(5 + t % 900));
  return row;
}

// |successes - n p| within 5 standard deviations of the binomial (5.7e-7 to fail by chance; the
// draws are fixed, so it fails always or never).
void ExpectShare(const char* name, int64_t successes, int64_t n, double p) {
  const double deviations = (static_cast<double>(successes) - static_cast<double>(n) * p) /
                            std::sqrt(static_cast<double>(n) * p * (1 - p));
  std::cout << name << ": " << static_cast<double>(successes) / static_cast<double>(n) << " of "
            << n << ", expected " << p << ", " << deviations << " standard deviations\n";
  EXPECT_LT(std::abs(deviations), 5) << name;
}

TEST(MlmMaskingTest, SharesAre15And80_10_10) {
  const MlmMasking masking(Settings(), MlmMasking::TrainingKey(1000));
  const auto row = WordRow(512);
  int64_t chosen = 0, masks = 0, kept = 0, randoms = 0, random_special = 0;
  constexpr int64_t kSamples = 2000;
  for (int64_t sample = 0; sample < kSamples; ++sample) {
    const Masked masked = Apply(masking, sample, row);
    chosen += static_cast<int64_t>(masked.positions.size());
    for (int32_t position : masked.positions) {
      const int32_t now = masked.row[static_cast<size_t>(position)];
      if (now == kSpecial.mask) {
        ++masks;
      } else if (now == row[static_cast<size_t>(position)]) {
        ++kept;
      } else {
        ++randoms;
        random_special += now < 5;
      }
    }
  }
  ExpectShare("chosen", chosen, kSamples * 512, 0.15);
  // A random id is [MASK], or the token itself, once in 1000.
  ExpectShare("masked", masks, chosen, 0.8 + 0.1 / kVocabulary);
  ExpectShare("kept", kept, chosen, 0.1 + 0.1 / kVocabulary);
  ExpectShare("random", randoms, chosen, 0.1 - 0.2 / kVocabulary);
  // 4 of the 998 other ids are special: drawn too, as Hugging Face's collator does.
  ExpectShare("random special", random_special, randoms, 4.0 / 998);
}

TEST(MlmMaskingTest, EveryPositionIsEquallyLikelyAndRandomIdsAreUniform) {
  MlmMaskingSettings settings = Settings();
  settings.mask_share = 0;
  settings.random_share = 1;
  const MlmMasking masking(settings, MlmMasking::TrainingKey(2));
  const auto row = WordRow(128);
  std::vector<double> by_position(128), by_id(kVocabulary / 10);
  double chosen = 0;
  constexpr int64_t kSamples = 10000;
  for (int64_t sample = 0; sample < kSamples; ++sample) {
    const Masked masked = Apply(masking, sample, row);
    chosen += static_cast<double>(masked.positions.size());
    for (int32_t position : masked.positions) {
      ++by_position[static_cast<size_t>(position)];
      ++by_id[static_cast<size_t>(masked.row[static_cast<size_t>(position)] / 10)];
    }
  }
  // Chi-square per degree of freedom: mean 1, standard deviation sqrt(2 / degrees).
  const auto expect_flat = [](const char* name, const std::vector<double>& counts, double expected,
                              double variance) {
    double sum = 0;
    for (double count : counts) sum += (count - expected) * (count - expected) / variance;
    const double degrees = static_cast<double>(counts.size());
    std::cout << name << ": chi-square / degrees of freedom " << sum / degrees << "\n";
    EXPECT_LT(sum / degrees, 1 + 5 * std::sqrt(2 / degrees)) << name;
  };
  expect_flat("positions", by_position, kSamples * 0.15, kSamples * 0.15 * 0.85);
  expect_flat("ids", by_id, chosen / static_cast<double>(by_id.size()),
              chosen / static_cast<double>(by_id.size()));
}

TEST(MlmMaskingTest, SpecialTokensAreNeverTargets) {
  MlmMaskingSettings settings = Settings();
  settings.probability = 1;
  const MlmMasking masking(settings, MlmMasking::TrainingKey(1));
  const std::vector<int32_t> row = {2, 10, 3, 2, 1, 11, 4, 3, 0, 0};
  for (int64_t sample = 0; sample < 100; ++sample) {
    const Masked masked = Apply(masking, sample, row, /*first_position=*/40);
    EXPECT_EQ(masked.positions, (std::vector<int32_t>{41, 45}));
    EXPECT_EQ(masked.targets, (std::vector<int32_t>{10, 11}));
    for (size_t t : {0, 2, 3, 4, 6, 7, 8, 9}) EXPECT_EQ(masked.row[t], row[t]);
  }
}

TEST(MlmMaskingTest, ProbabilityZeroAsksNothing) {
  MlmMaskingSettings settings = Settings();
  settings.probability = 0;
  const MlmMasking masking(settings, MlmMasking::TrainingKey(1));
  const auto row = WordRow(1000);
  const Masked masked = Apply(masking, 0, row);
  EXPECT_TRUE(masked.positions.empty());
  EXPECT_EQ(masked.row, row);
}

TEST(MlmMaskingTest, IsAFunctionOfSampleSeedAndPurpose) {
  const auto row = WordRow(512);
  const auto positions = [&](PhiloxKey key, int64_t sample) {
    return Apply(MlmMasking(Settings(), key), sample, row).positions;
  };
  const auto first = positions(MlmMasking::TrainingKey(1), 5);
  EXPECT_EQ(first, positions(MlmMasking::TrainingKey(1), 5));
  EXPECT_NE(first, positions(MlmMasking::TrainingKey(1), 6));
  EXPECT_NE(first, positions(MlmMasking::TrainingKey(2), 5));
  EXPECT_NE(first, positions(MlmMasking::EvaluationKey(1), 5));
  EXPECT_NE(first, positions(MlmMasking::TrainingKey(1), int64_t{5} + (int64_t{1} << 32)));
  // A position's draw does not depend on the length of the row.
  const auto shorter = Apply(MlmMasking(Settings(), MlmMasking::TrainingKey(1)), 5, WordRow(100));
  for (size_t i = 0; i < shorter.positions.size(); ++i) EXPECT_EQ(shorter.positions[i], first[i]);
}

}  // namespace
}  // namespace sluice
