#include "data/bigram_backcopy.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "core/utf8.h"
#include "data/content_hash.h"

namespace sluice {
namespace {

constexpr int32_t kSyntheticTokens = 64;
constexpr int32_t kLimitedTriggers = 3;
using Row = std::vector<double>;

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

void Normalize(Row& row) {
  const double sum = std::accumulate(row.begin(), row.end(), 0.0);
  for (double& value : row) value /= sum;
}

Row Cumulative(const Row& probabilities) {
  Row sums(probabilities.size());
  std::partial_sum(probabilities.begin(), probabilities.end(), sums.begin());
  return sums;
}

// No token leads to triggers nearly always: the chain would be stuck between the two.
void LimitTriggers(Row& row) {
  constexpr double kLargestMass = 0.9;
  const double mass = std::accumulate(row.begin(), row.begin() + kLimitedTriggers, 0.0);
  if (mass <= kLargestMass) return;
  for (size_t j = 0; j < row.size(); ++j) {
    row[j] *= j < kLimitedTriggers ? kLargestMass / mass : (1 - kLargestMass) / (1 - mass);
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
  // The last sum may be below 1 by rounding; then the last token that can come at all.
  const double reached = std::min(uniform, std::nextafter(cumulative.back(), 0.0));
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), reached);
  return static_cast<int32_t>(found - cumulative.begin());
}

absl::StatusOr<std::vector<absl::string_view>> SplitCharacters(absl::string_view text,
                                                               const std::string& name) {
  std::vector<absl::string_view> characters;
  for (size_t at = 0; at < text.size();) {
    const size_t length = Utf8SequenceLength(text.substr(at));
    if (length == 0) return DataError("text is not UTF-8", name, absl::StrCat("byte ", at));
    characters.push_back(text.substr(at, length));
    at += length;
  }
  return characters;
}

}  // namespace

absl::StatusOr<BigramBackcopy> BigramBackcopy::Open(const std::string& table, int64_t triggers) {
  if (table == "synthetic") {
    if (triggers < 1 || triggers > kSyntheticTokens - 2) {
      return UsageError("data.triggers is out of range for the synthetic table", "",
                        absl::StrCat(triggers, " of ", kSyntheticTokens, " tokens"));
    }
    return Synthetic(triggers);
  }
  std::ifstream file(table, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return DataError("cannot read the text of data.table (or it is empty)", table);
  return FromText(text.str(), triggers, table);
}

BigramBackcopy BigramBackcopy::Synthetic(int64_t triggers) {
  CHECK(triggers >= 1 && triggers <= kSyntheticTokens - 2) << triggers;
  Row marginal(kSyntheticTokens);
  for (int32_t j = 0; j < kSyntheticTokens; ++j) marginal[At(j)] = std::pow(j + 4.0, -1.4);
  Normalize(marginal);
  SplitMix64 random(7);
  std::vector<Row> conditional(kSyntheticTokens, Row(kSyntheticTokens));
  for (Row& row : conditional) {
    for (size_t j = 0; j < row.size(); ++j) {
      row[j] = marginal[j] * std::pow(-std::log(random.Uniform()), 2.5);
    }
    Normalize(row);
    LimitTriggers(row);
  }
  return BigramBackcopy(std::move(marginal), std::move(conditional), triggers);
}

absl::StatusOr<BigramBackcopy> BigramBackcopy::FromText(absl::string_view text, int64_t triggers,
                                                        const std::string& name) {
  ASSIGN_OR_RETURN(const std::vector<absl::string_view> characters, SplitCharacters(text, name));
  // Bytes of UTF-8 are in the order of the code points.
  std::map<absl::string_view, size_t> ids;
  for (absl::string_view character : characters) ids[character] = 0;
  const auto N = static_cast<int64_t>(ids.size());
  constexpr int64_t kMostCharacters = 8192;  // a row each, twice
  if (N < triggers + 2 || N > kMostCharacters) {
    return DataError(
        "text has too few or too many different characters for a bigram table", name,
        absl::StrCat(N, ", wanted ", triggers + 2, " (data.triggers + 2) to ", kMostCharacters));
  }
  std::vector<std::string> names;
  for (auto& [character, id] : ids) {
    id = names.size();
    names.emplace_back(character);
  }
  Row marginal(names.size());
  std::vector<Row> conditional(names.size(), Row(names.size()));
  for (size_t i = 0; i < characters.size(); ++i) {
    const size_t id = ids[characters[i]];
    marginal[id] += 1;
    if (i > 0) conditional[ids[characters[i - 1]]][id] += 1;
  }
  Normalize(marginal);
  for (Row& row : conditional) {
    if (std::accumulate(row.begin(), row.end(), 0.0) == 0) row = marginal;
    Normalize(row);
  }
  BigramBackcopy task(std::move(marginal), std::move(conditional), triggers);
  task.characters_ = std::move(names);
  return task;
}

BigramBackcopy::BigramBackcopy(Row marginal, std::vector<Row> conditional, int64_t triggers)
    : is_trigger_(marginal.size()),
      marginal_(std::move(marginal)),
      conditional_(std::move(conditional)) {
  std::vector<size_t> by_frequency(marginal_.size());
  std::iota(by_frequency.begin(), by_frequency.end(), size_t{0});
  std::stable_sort(by_frequency.begin(), by_frequency.end(),
                   [this](size_t a, size_t b) { return marginal_[a] > marginal_[b]; });
  first_ = marginal_;
  for (int64_t k = 0; k < triggers; ++k) {
    const size_t token = by_frequency[static_cast<size_t>(k)];
    is_trigger_[token] = 1;
    first_[token] = 0;
  }
  Normalize(first_);
  first_cumulative_ = Cumulative(first_);
  for (const Row& row : conditional_) conditional_cumulative_.push_back(Cumulative(row));
}

std::string BigramBackcopy::Name(int32_t token) const {
  if (token == start_token()) return "<s>";
  return characters_.empty() ? absl::StrCat(token) : characters_[At(token)];
}

int64_t BigramBackcopy::memory_bytes() const {
  const int64_t N = ordinary_tokens();
  return 2 * N * (N + 2) * static_cast<int64_t>(sizeof(double));
}

int64_t BigramBackcopy::TextHash() const {
  if (characters_.empty()) return 0;
  Xxh3Hasher hasher;
  for (const std::string& character : characters_)
    hasher.Update(character.data(), character.size());
  const auto add = [&hasher](const Row& row) {
    hasher.Update(row.data(), row.size() * sizeof(double));
  };
  add(marginal_);
  for (const Row& row : conditional_) add(row);
  hasher.Update(is_trigger_.data(), is_trigger_.size());
  return static_cast<int64_t>(hasher.Digest() >> 1);
}

void BigramBackcopy::Generate(PhiloxKey key, int64_t sample, std::span<int32_t> tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i == 0) {
      tokens[i] = start_token();
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

// Position i holds the non-trigger a with chance plain[a], or a trigger behind a with chance
// copying[a]; this is a chain, since what follows a trigger is a.
BigramBackcopyStatistics ExactStatistics(const BigramBackcopy& task, int64_t sequence_length) {
  CHECK_GE(sequence_length, 2);
  const int32_t N = task.ordinary_tokens();
  std::vector<int32_t> plain_tokens;
  Row first(N), entropy(N), trigger_mass(N), row(N);
  for (int32_t a = 0; a < N; ++a) {
    const auto at = static_cast<size_t>(a);
    first[at] = task.First(a);
    if (task.IsTrigger(a)) continue;
    plain_tokens.push_back(a);
    for (int32_t b = 0; b < N; ++b) {
      row[static_cast<size_t>(b)] = task.Conditional(a, b);
      if (task.IsTrigger(b)) trigger_mass[at] += task.Conditional(a, b);
    }
    entropy[at] = Entropy(row);
  }
  Row plain = first, copying(N);
  double plain_positions = 0, entropy_sum = 0;
  for (int64_t i = 1; i < sequence_length; ++i) {
    Row next_plain = copying, next_copying(N);
    for (int32_t a : plain_tokens) {
      const double p = plain[static_cast<size_t>(a)];
      plain_positions += p;
      entropy_sum += p * entropy[static_cast<size_t>(a)];
      next_copying[static_cast<size_t>(a)] = p * trigger_mass[static_cast<size_t>(a)];
      for (int32_t b : plain_tokens) {
        next_plain[static_cast<size_t>(b)] += p * task.Conditional(a, b);
      }
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
