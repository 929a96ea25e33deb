// How far a float attention kernel may be from exact arithmetic, from first principles, and the
// comparison of all its results.
//
// Roundings are taken as independent: n of them in a row count as min(n, 6 sqrt(n)) half units in
// the last place (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4 with λ = 6).
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention_problem.h"
#include "support/compare.h"

namespace sluice::testing {

inline double Roundings(double n) { return std::min(n, 6 * std::sqrt(n)) * 0x1p-24; }

// Sizes of the quantities that errors are relative to.
struct AttentionMagnitudes {
  double score = 0;        // largest Σ_d |q k| · scale: the error of s is relative to this
  double probability = 0;  // error of p relative to p: two scores (s and log-sum-exp) and the sum
  double q = 0, k = 0, v = 0, dout = 0;  // largest elements
  double dot = 0;                        // largest Σ_d |dout v| · dropout scale: bounds ∂p
  double column = 0;                     // largest Σ_i p[i, j]
  double kept = 1;                       // dropout scale
};

inline double LargestAbsolute(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

inline AttentionMagnitudes MeasureMagnitudes(const AttentionProblem& problem,
                                             const AttentionInputs& inputs,
                                             const std::vector<double>& log_sum_exp) {
  AttentionMagnitudes m;
  m.kept = inputs.dropout.enabled() ? inputs.dropout.scale() : 1;
  const int64_t T = problem.T, H = problem.H, D = problem.D;
  double largest_log_sum_exp = 0;
  for (int64_t bh = 0; bh < problem.B * H; ++bh) {
    std::vector<double> column(T, 0.0);
    for (int64_t i = 0; i < T; ++i) {
      const double shift = log_sum_exp[bh * T + i];
      if (!std::isfinite(shift)) continue;
      largest_log_sum_exp = std::max(largest_log_sum_exp, std::abs(shift));
      for (int64_t j = 0; j < T; ++j) {
        double score = 0, score_size = 0, dot_size = 0;
        for (int64_t d = 0; d < D; ++d) {
          const int64_t at_i = ((bh / H * T + i) * H + bh % H) * D + d;
          const int64_t at_j = ((bh / H * T + j) * H + bh % H) * D + d;
          score += inputs.q[at_i] * inputs.k[at_j] * inputs.scale;
          score_size += std::abs(inputs.q[at_i] * inputs.k[at_j]) * inputs.scale;
          dot_size += std::abs(inputs.dout[at_i] * inputs.v[at_j]);
        }
        m.score = std::max(m.score, score_size);
        m.dot = std::max(m.dot, dot_size * m.kept);
        column[j] += std::min(1.0, std::exp(score - shift));  // masked pairs only add slack
      }
    }
    m.column = std::max(m.column, *std::max_element(column.begin(), column.end()));
  }
  m.q = LargestAbsolute(inputs.q);
  m.k = LargestAbsolute(inputs.k);
  m.v = LargestAbsolute(inputs.v);
  m.dout = LargestAbsolute(inputs.dout);
  const double t = static_cast<double>(T), d = static_cast<double>(D);
  m.probability =
      2 * m.score * Roundings(d + 2) + Roundings(t + 6) + largest_log_sum_exp * Roundings(2);
  return m;
}

// Compares everything that a run wrote with what the reference wrote.
template <typename T>
void ExpectAttentionClose(const AttentionProblem& problem, const AttentionInputs& inputs,
                          const AttentionResults<T>& actual,
                          const AttentionResults<double>& expected) {
  const AttentionMagnitudes m = MeasureMagnitudes(problem, inputs, expected.log_sum_exp);
  const double t = static_cast<double>(problem.T), d = static_cast<double>(problem.D);
  const double tiny = std::numeric_limits<float>::min();
  // Error of ⟨dout, v⟩ - Σ p ⟨dout, v⟩, the factor beside p in the gradient of the scores.
  const double difference = m.dot * (3 * m.probability + 2 * Roundings(d + 4) + Roundings(t + 4));
  const auto bound = [&](double absolute, double relative, const char* derivation) {
    return Tolerance{.absolute = absolute + tiny,
                     .relative = relative,
                     .zeros_expected = true,
                     .derivation = derivation};
  };
  const double stored = UnitRoundoff<T>(), kept = UnitRoundoff<float>();
  const std::string name = problem.Name() + (std::is_same_v<T, bf16> ? " bf16 " : " float ");
  ExpectClose(name + "out", actual.out, expected.out,
              bound(m.v * m.kept * (m.probability + Roundings(t + 6)), stored,
                    "max|v| · (error of p + sum over T)"));
  ExpectClose(name + "dq", actual.dq, expected.dq,
              bound(m.k * inputs.scale * (difference + 2 * m.dot * Roundings(t + 4)), stored,
                    "max|k| · scale · (error of dS + sum over T)"));
  ExpectClose(name + "dk", actual.dk, expected.dk,
              bound(m.q * inputs.scale * m.column * (difference + 2 * m.dot * Roundings(t + 4)),
                    stored, "max|q| · scale · column sum · (error of dS + sum over T)"));
  const double dvalues = m.dout * m.kept * m.column * (m.probability + Roundings(t + 6));
  ExpectClose(name + "dv", actual.dv, expected.dv,
              bound(dvalues, stored, "max|dout| · column sum · (error of p + sum over T)"));
  if (problem.site == GateSite::kQuery) {
    ExpectClose(name + "dgate", actual.dgate, expected.dgate,
                bound(difference, kept, "max Σ|dout v| · (error of p + sums over D, T)"));
  } else if (problem.site == GateSite::kKey) {
    ExpectClose(name + "dgate", actual.dgate, expected.dgate,
                bound(d * m.v * (dvalues + m.dout * m.kept * m.column * Roundings(d + 2)), kept,
                      "D · max|v| · (error of dv + sum over D)"));
  }
  std::vector<double> actual_sums, expected_sums;  // where finite; -infinity must be where expected
  for (size_t i = 0; i < expected.log_sum_exp.size(); ++i) {
    if (std::isfinite(expected.log_sum_exp[i])) {
      actual_sums.push_back(static_cast<double>(actual.log_sum_exp[i]));
      expected_sums.push_back(expected.log_sum_exp[i]);
    } else {
      EXPECT_EQ(static_cast<double>(actual.log_sum_exp[i]), expected.log_sum_exp[i]) << i;
    }
  }
  ExpectClose(
      name + "log_sum_exp", actual_sums, expected_sums,
      bound(m.score * Roundings(d + 2) + Roundings(t + 4), 2 * kept, "error of s + sum over T"));
}

// Runs both and compares.
template <typename T>
void ExpectAttentionMatchesReference(const AttentionProblem& problem, uint64_t seed) {
  SCOPED_TRACE(problem.Name() + " seed " + std::to_string(seed));
  const AttentionInputs inputs = AttentionInputs::Make<T>(problem, seed);
  ExpectAttentionClose(problem, inputs, RunAttention<T>(problem, inputs),
                       RunAttention<double>(problem, inputs));
}

}  // namespace sluice::testing
