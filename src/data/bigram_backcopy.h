// The Bigram-Backcopy task (Guo et al., arXiv 2410.13835) over a table made from nothing but a
// formula: the smallest data on which one attention layer grows a sink. Tokens follow a bigram
// chain, except that after a trigger the token before it comes again:
//
//   s_0 = <s>                     s_1 ~ First
//   s_{i+1} = s_{i-1}             when s_i is a trigger
//   s_{i+1} ~ Conditional(s_i)    otherwise
//
// The table: N = 64 ordinary tokens 0 … 63, of which 0, 1 and 2 are triggers, and <s> = 64.
// m_j ∝ (j + 4)^-1.4; w_ij = m_j · (-ln u_ij)^2.5 with u from SplitMix64 (Steele et al., OOPSLA
// 2014) of state 7, i outer and j inner; Conditional(i) is row i of w, normalised, and where its
// triggers have more than 0.9 together they are scaled down to 0.9 and the others up. First is m
// with the triggers left out, normalised.
//
//   const BigramBackcopy& task = BigramBackcopy::Get();
//   task.Generate(key, sample, tokens);      // T + 1 of them: inputs and, one further, targets
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/philox.h"

namespace sluice {

class BigramBackcopy {
 public:
  static constexpr int32_t kOrdinaryTokens = 64;
  static constexpr int32_t kTriggers = 3;     // tokens 0, 1 and 2
  static constexpr int32_t kStartToken = 64;  // <s>
  static constexpr int64_t kVocabularySize = 65;

  // The one table; made at the first call.
  static const BigramBackcopy& Get();

  static bool IsTrigger(int32_t token) { return token < kTriggers; }

  // P(s_1 = token), and P(s_{i+1} = next | s_i = token); tokens below kOrdinaryTokens.
  double First(int32_t token) const { return first_[At(token)]; }
  double Conditional(int32_t token, int32_t next) const {
    return conditional_[At(token)][At(next)];
  }
  // m.
  double Marginal(int32_t token) const { return marginal_[At(token)]; }

  // Fills `tokens` with s_0, s_1, … of sample `sample`. Token i depends on key, sample and i only
  // by Philox words 0 and 1 of counter (i, sample): 53 bits, the upper 27 and 26 of the two.
  void Generate(PhiloxKey key, int64_t sample, std::span<int32_t> tokens) const;

 private:
  using Row = std::array<double, kOrdinaryTokens>;

  BigramBackcopy();
  static size_t At(int32_t token) { return static_cast<size_t>(token); }
  static Row Cumulative(const Row& probabilities);

  Row marginal_, first_, first_cumulative_;
  std::array<Row, kOrdinaryTokens> conditional_, conditional_cumulative_;
};

// Exact, from the distribution of each position; T >= 2. Entropies in nats.
struct BigramBackcopyStatistics {
  double non_trigger_fraction = 0;  // of the positions 1 … T - 1
  double bigram_entropy = 0;        // of the next token, mean over those that are no triggers
  double first_token_entropy = 0;   // of s_1
  double loss_floor = 0;            // least mean cross-entropy over all T targets
};
BigramBackcopyStatistics ExactStatistics(const BigramBackcopy& task, int64_t sequence_length);

}  // namespace sluice
