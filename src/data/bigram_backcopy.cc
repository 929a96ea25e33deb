#include "data/bigram_backcopy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"

namespace sluice {
namespace {

constexpr int32_t kTokens = BigramBackcopy::kOrdinaryTokens;
constexpr int32_t kTriggers = BigramBackcopy::kTriggers;
using Row = std::array<double, kTokens>;

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t state) : state_(state) {}

  // In (0, 1), with 53 bits.
  double Uniform() { return (static_cast<double>(Next() >> 11) + 0.5) * 0x1p-53; }

 private:
  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
  }

  uint64_t state_;
};

double TriggerMass(const Row& row) {
  return std::accumulate(row.begin(), row.begin() + kTriggers, 0.0);
}

void Normalize(Row& row) {
  const double sum = std::accumulate(row.begin(), row.end(), 0.0);
  for (double& value : row) value /= sum;
}

// No token leads to triggers nearly always: the chain would be stuck between the two.
void LimitTriggers(Row& row) {
  constexpr double kLargestMass = 0.9;
  const double mass = TriggerMass(row);
  if (mass <= kLargestMass) return;
  for (int32_t j = 0; j < kTokens; ++j) {
    row[static_cast<size_t>(j)] *=
        j < kTriggers ? kLargestMass / mass : (1 - kLargestMass) / (1 - mass);
  }
}

double Entropy(const Row& row) {
  double entropy = 0;
  for (double p : row) {
    if (p > 0) entropy -= p * std::log(p);
  }
  return entropy;
}

int32_t Draw(const Row& cumulative, double uniform) {
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), uniform);
  // The last sum may be below 1 by rounding.
  return std::min(static_cast<int32_t>(found - cumulative.begin()), kTokens - 1);
}

}  // namespace

const BigramBackcopy& BigramBackcopy::Get() {
  static const BigramBackcopy task;
  return task;
}

BigramBackcopy::BigramBackcopy() {
  for (int32_t j = 0; j < kTokens; ++j) marginal_[At(j)] = std::pow(j + 4.0, -1.4);
  Normalize(marginal_);
  SplitMix64 random(7);
  for (int32_t i = 0; i < kTokens; ++i) {
    Row& row = conditional_[At(i)];
    for (int32_t j = 0; j < kTokens; ++j) {
      row[At(j)] = marginal_[At(j)] * std::pow(-std::log(random.Uniform()), 2.5);
    }
    Normalize(row);
    LimitTriggers(row);
    conditional_cumulative_[At(i)] = Cumulative(row);
  }
  first_ = marginal_;
  std::fill_n(first_.begin(), kTriggers, 0.0);
  Normalize(first_);
  first_cumulative_ = Cumulative(first_);
}

BigramBackcopy::Row BigramBackcopy::Cumulative(const Row& probabilities) {
  Row sums;
  std::partial_sum(probabilities.begin(), probabilities.end(), sums.begin());
  return sums;
}

void BigramBackcopy::Generate(PhiloxKey key, int64_t sample, std::span<int32_t> tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i == 0) {
      tokens[i] = kStartToken;
      continue;
    }
    if (i > 1 && IsTrigger(tokens[i - 1])) {
      tokens[i] = tokens[i - 2];
      continue;
    }
    const auto words = Philox(key, PhiloxCounter(i, static_cast<uint64_t>(sample)));
    const double uniform =
        static_cast<double>(uint64_t{words[0] >> 5} << 26 | words[1] >> 6) * 0x1p-53;
    tokens[i] =
        Draw(i == 1 ? first_cumulative_ : conditional_cumulative_[At(tokens[i - 1])], uniform);
  }
}

// Position i holds the ordinary token a with chance plain[a], or a trigger behind a with chance
// copying[a]; this is a chain, since what follows a trigger is a.
BigramBackcopyStatistics ExactStatistics(const BigramBackcopy& task, int64_t sequence_length) {
  CHECK_GE(sequence_length, 2);
  Row first, plain{}, copying{}, entropy{}, trigger_mass{};
  std::array<Row, kTokens> conditional;
  for (int32_t a = 0; a < kTokens; ++a) {
    const auto row = static_cast<size_t>(a);
    first[row] = task.First(a);
    for (int32_t b = 0; b < kTokens; ++b) {
      conditional[row][static_cast<size_t>(b)] = task.Conditional(a, b);
    }
    entropy[row] = Entropy(conditional[row]);
    trigger_mass[row] = TriggerMass(conditional[row]);
  }
  plain = first;
  double plain_positions = 0, entropy_sum = 0;
  for (int64_t i = 1; i < sequence_length; ++i) {
    Row next_plain = copying, next_copying{};
    for (size_t a = kTriggers; a < kTokens; ++a) {
      plain_positions += plain[a];
      entropy_sum += plain[a] * entropy[a];
      next_copying[a] = plain[a] * trigger_mass[a];
      for (size_t b = kTriggers; b < kTokens; ++b) next_plain[b] += plain[a] * conditional[a][b];
    }
    plain = next_plain;
    copying = next_copying;
  }
  BigramBackcopyStatistics statistics;
  statistics.non_trigger_fraction = plain_positions / static_cast<double>(sequence_length - 1);
  statistics.bigram_entropy = entropy_sum / plain_positions;
  statistics.first_token_entropy = Entropy(first);
  statistics.loss_floor =
      (statistics.first_token_entropy + entropy_sum) / static_cast<double>(sequence_length);
  return statistics;
}

}  // namespace sluice
