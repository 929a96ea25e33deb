// Permutation and Sampler: bijections, fresh every epoch, without visible structure.
#include "data/permutation.h"

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "data/sampler.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

std::vector<int64_t> Values(uint64_t seed, int64_t epoch, int64_t n) {
  const Permutation permutation(seed, epoch, n);
  std::vector<int64_t> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(permutation(i));
  return values;
}

void ExpectBijection(uint64_t seed, int64_t epoch, int64_t n) {
  std::vector<bool> seen(static_cast<size_t>(n), false);
  for (int64_t value : Values(seed, epoch, n)) {
    ASSERT_GE(value, 0);
    ASSERT_LT(value, n);
    ASSERT_FALSE(seen[static_cast<size_t>(value)]) << "n " << n << ": " << value << " twice";
    seen[static_cast<size_t>(value)] = true;
  }
}

TEST(PermutationTest, IsABijection) {
  for (int64_t n = 1; n <= 300; ++n) ExpectBijection(7, n % 5, n);
  for (int64_t n : {511, 512, 513, 1000, 4095, 4096, 4097, 65537, 170105}) ExpectBijection(1, 3, n);
}

TEST(PermutationTest, StaysInRangeForHugeSets) {
  for (int64_t n : {int64_t{1} << 31, (int64_t{1} << 33) + 1, int64_t{1} << 62}) {
    const Permutation permutation(9, 0, n);
    std::set<int64_t> values;
    for (int64_t i = 0; i < 1000; ++i) {
      values.insert(permutation(i));
      values.insert(permutation(n - 1 - i));
    }
    EXPECT_EQ(values.size(), 2000u);
    EXPECT_GE(*values.begin(), 0);
    EXPECT_LT(*values.rbegin(), n);
    EXPECT_GT(*values.rbegin(), n / 10 * 9);  // fails by chance once in 10^91
  }
}

TEST(PermutationTest, DependsOnSeedAndEpochAndOnNothingElse) {
  const auto order = Values(1, 0, 1000);
  EXPECT_EQ(order, Values(1, 0, 1000));
  const auto agreements = [&](const std::vector<int64_t>& other) {
    int64_t count = 0;
    for (size_t i = 0; i < order.size(); ++i) count += order[i] == other[i];
    return count;
  };
  // Two random orders agree in about 1 place; Poisson(1) exceeds 12 with probability < 1e-10.
  for (int64_t epoch = 1; epoch < 20; ++epoch) EXPECT_LE(agreements(Values(1, epoch, 1000)), 12);
  for (uint64_t seed = 2; seed < 20; ++seed) EXPECT_LE(agreements(Values(seed, 0, 1000)), 12);
  EXPECT_LE(agreements(Values(uint64_t{1} << 40 | 1, 0, 1000)), 12);
}

// Chi-square of counts that should be equal, divided by its degrees of freedom.
double ChiSquarePerDegree(const std::map<int64_t, int64_t>& counts, int64_t cells, double total) {
  const double expected = total / static_cast<double>(cells);
  double sum = (static_cast<double>(cells) - static_cast<double>(counts.size())) * expected;
  for (const auto& [cell, count] : counts) {
    sum += std::pow(static_cast<double>(count) - expected, 2) / expected;
  }
  return sum / (static_cast<double>(cells) - 1);
}

TEST(PermutationTest, SmallOrdersComeUpEquallyOften) {
  // All 120 orders of 5 things over 24 000 epochs: chi-square with 119 degrees of freedom has mean
  // 1 and standard deviation sqrt(2 / 119) = 0.13 per degree; 1.8 is 6 of them away.
  std::map<int64_t, int64_t> counts;
  for (int64_t epoch = 0; epoch < 24000; ++epoch) {
    int64_t code = 0;
    for (int64_t value : Values(11, epoch, 5)) code = code * 5 + value;
    ++counts[code];
  }
  const double share = ChiSquarePerDegree(counts, 120, 24000);
  std::cout << "chi-square / degrees of freedom " << share << "\n";
  EXPECT_LT(share, 1.8);
}

TEST(PermutationTest, NeighboursDoNotStayNeighbours) {
  // Differences of consecutive values in 64 bins: 63 degrees of freedom, standard deviation 0.18.
  const int64_t n = 100003;
  const auto values = Values(5, 2, n);
  std::map<int64_t, int64_t> bins;
  for (size_t i = 1; i < values.size(); ++i) {
    ++bins[((values[i] - values[i - 1] + n) % n) * 64 / n];
  }
  const double share = ChiSquarePerDegree(bins, 64, static_cast<double>(n - 1));
  std::cout << "chi-square / degrees of freedom " << share << "\n";
  EXPECT_LT(share, 2.1);
}

TEST(SamplerTest, VisitsEachSequenceOnceAnEpoch) {
  const Sampler sampler(3, 100, /*shuffled=*/true);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<int64_t> seen;
    for (int64_t i = 0; i < 100; ++i) {
      const SampleLocation location = sampler.Locate(epoch * 100 + i);
      EXPECT_EQ(location.epoch, epoch);
      seen.insert(location.sequence);
    }
    EXPECT_EQ(seen.size(), 100u);
  }
}

TEST(SamplerTest, NotShuffledIsTheIdentity) {
  const Sampler sampler(3, 100, /*shuffled=*/false);
  for (int64_t g : {0, 1, 99, 100, 250}) {
    EXPECT_EQ(sampler.Locate(g), (SampleLocation{g / 100, g % 100}));
  }
}

}  // namespace
}  // namespace sluice
