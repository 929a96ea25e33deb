// The Bigram-Backcopy task (Guo et al., arXiv 2410.13835): the smallest data on which one attention
// layer grows a sink. Tokens follow a bigram chain, except that after a trigger the token before it
// comes again:
//
//   s_0 = <s>                     s_1 ~ First
//   s_{i+1} = s_{i-1}             when s_i is a trigger
//   s_{i+1} ~ Conditional(s_i)    otherwise
//
// The ordinary tokens are 0 … N - 1, <s> is N; the triggers are the K most frequent ones; First is
// the marginal with the triggers left out, normalised. There are two kinds of tables:
//
// Synthetic, made from nothing but a formula: N = 64, m_j ∝ (j + 4)^-1.4; w_ij = m_j · (-ln
// u_ij)^2.5 with u from SplitMix64 (Steele et al., OOPSLA 2014) of state 7, i outer and j inner;
// Conditional(i) is row i of w, normalised, and where tokens 0, 1 and 2 have more than 0.9 together
// they are scaled down to 0.9 and the others up.
//
// Of a text: its characters (code points) in rising order; the marginal is how often each occurs,
// Conditional(a) how often each follows a, over all pairs, without smoothing. A character that
// nothing follows (it stands at the text's end and nowhere else) has the marginal as its row.
//
//   ASSIGN_OR_RETURN(const BigramBackcopy task, BigramBackcopy::Open(data.table, data.triggers));
//   task.Generate(key, sample, tokens);      // T + 1 of them: inputs and, one further, targets
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/philox.h"

namespace sluice {

class BigramBackcopy {
 public:
  // `table` is "synthetic" or the path of a UTF-8 text. DataError for a file that cannot be read,
  // is no UTF-8, or has not at least two characters that are no triggers; UsageError for a number
  // of triggers that the synthetic table does not have.
  static absl::StatusOr<BigramBackcopy> Open(const std::string& table, int64_t triggers);
  // 1 <= triggers <= 62.
  static BigramBackcopy Synthetic(int64_t triggers = 3);
  // `name`: what messages call the text.
  static absl::StatusOr<BigramBackcopy> FromText(absl::string_view text, int64_t triggers,
                                                 const std::string& name);

  int32_t ordinary_tokens() const { return static_cast<int32_t>(marginal_.size()); }
  int32_t start_token() const { return ordinary_tokens(); }  // <s>
  int64_t vocabulary_size() const { return ordinary_tokens() + 1; }

  bool IsTrigger(int32_t token) const {
    return token < ordinary_tokens() && is_trigger_[At(token)] != 0;
  }
  // The character that an ordinary token is; of the synthetic table the token's number.
  std::string Name(int32_t token) const;

  // P(s_1 = token), and P(s_{i+1} = next | s_i = token), of ordinary tokens.
  double First(int32_t token) const { return first_[At(token)]; }
  double Conditional(int32_t token, int32_t next) const {
    return conditional_[At(token)][At(next)];
  }
  double Marginal(int32_t token) const { return marginal_[At(token)]; }

  // Fills `tokens` with s_0, s_1, … of sample `sample`. Token i depends on key, sample and i only
  // by Philox words 0 and 1 of counter (i, sample): 53 bits, the upper 27 and 26 of the two.
  void Generate(PhiloxKey key, int64_t sample, std::span<int32_t> tokens) const;

  int64_t memory_bytes() const;
  // A number, not negative, that stands for the characters of a text's table and all probabilities;
  // 0: the synthetic one, whose last bits are the processor's.
  int64_t TextHash() const;

 private:
  using Row = std::vector<double>;  // of all ordinary tokens

  // From marginal_ and conditional_: triggers, First, and what Generate looks up.
  explicit BigramBackcopy(Row marginal, std::vector<Row> conditional, int64_t triggers);
  static size_t At(int32_t token) { return static_cast<size_t>(token); }

  std::vector<uint8_t> is_trigger_;
  Row marginal_, first_, first_cumulative_;
  std::vector<Row> conditional_, conditional_cumulative_;
  std::vector<std::string> characters_;  // empty: the synthetic table
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
