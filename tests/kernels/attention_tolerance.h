// How far a float attention kernel may be from exact arithmetic, from first principles, and the
// comparison of all its results.
//
// Where operands of products are rounded to bf16 (kernels/cpu/attention_amx.h) or to storage
// (kernels/cuda/attention_product.cuh), each adds its unit roundoff relative to the sum of absolute
// products, and in fp16 the absolute error of what is subnormal; scores have exact operands.
//
// Roundings are taken as independent: n of them in a row count as min(n, 6 sqrt(n)) half units in
// the last place (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4 with λ = 6).
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention_kinks.h"
#include "kernels/attention_problem.h"
#include "kernels/cpu/amx_tile.h"
#include "support/backend.h"
#include "support/compare.h"

namespace sluice::testing {

inline double Roundings(double n) { return std::min(n, 6 * std::sqrt(n)) * 0x1p-24; }

// Sizes of the quantities that errors are relative to.
struct AttentionMagnitudes {
  double score = 0;        // largest Σ_d |q k| · scale: the error of s is relative to this
  double probability = 0;  // error of p relative to p: two scores (s and log-sum-exp) and the sum
  double q = 0, k = 0, v = 0, dout = 0;  // largest elements
  double dot = 0;     // largest Σ_d |dout v| · dropout scale · stretch of the clip: bounds ∂p
  double column = 0;  // largest Σ_i p[i, j] of a token j
  double sink_token = 0;  // largest Σ_{b,i} p of a head's sink token
  double sink_logit = 0;  // and of its sink logit
  // Dropout scale · stretch of the clip: p̃ <= kept · p. Without a softmax · the largest score: p is
  // the pair's share then (attention_kinks.h), p̃ <= kept · share.
  double kept = 1;
  // Of an operand that enters a product in bf16 (unit roundoff of bf16), relative to it; 0 where
  // products run in fp32.
  double operand = 0;
  // Of a sum of products over T and the sink token, in units of the other factor: operands of fp16
  // below 2^-14 have an absolute error instead.
  double underflow = 0;
};

// Roundings of a score but for its sum: by scale, and on CUDA in the units of exponents of two,
// there and back.
constexpr double kScoreRoundings = kOnCuda ? 6 : 2;

// Whether products of this storage type may round their operands: those of bf16 on AMX, and those
// of tensor cores. Other instruction sets keep the narrower bounds by far, but share these where
// AMX is there.
template <typename T>
double OperandRounding() {
  if (kOnCuda) return sizeof(T) == 2 ? UnitRoundoff<T>() : 0;
  return std::is_same_v<T, bf16> && cpu::HasAmxTiles() ? UnitRoundoff<bf16>() : 0;
}

template <typename T>
const char* StorageName() {
  return std::is_same_v<T, bf16> ? " bf16 " : std::is_same_v<T, fp16> ? " fp16 " : " float ";
}

inline double LargestAbsolute(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// Sums of the probabilities of each key over the queries that see it.
inline void MeasureColumns(const AttentionProblem& problem, const AttentionInputs& inputs,
                           const std::vector<double>& log_sum_exp, AttentionMagnitudes& m) {
  const int64_t T = problem.T, H = problem.H, S = problem.sink_tokens();
  std::vector<double> columns(problem.B * H * (T + S), 0.0), sinks(H, 0.0), logits(H, 0.0);
  ForEachVisiblePair(problem, inputs, log_sum_exp,
                     [&](int64_t bh, int64_t, int64_t key, double, double p) {
                       if (key < S)
                         sinks[bh % H] += p;
                       else
                         columns[bh * (T + S) + key] += p;
                     });
  for (int64_t row = 0; row < problem.B * H * T; ++row) {
    if (!std::isfinite(log_sum_exp[row])) continue;
    const int64_t h = row / T % H;
    logits[h] += std::exp(inputs.sink_logit[h] - log_sum_exp[row]);
  }
  m.column = LargestAbsolute(columns);
  m.sink_token = LargestAbsolute(sinks);
  m.sink_logit = LargestAbsolute(logits);
}

inline AttentionMagnitudes MeasureMagnitudes(const AttentionProblem& problem,
                                             const AttentionInputs& inputs,
                                             const std::vector<double>& log_sum_exp,
                                             double operand_rounding = 0) {
  AttentionMagnitudes m;
  m.operand = operand_rounding;
  m.kept = (inputs.dropout.enabled() ? inputs.dropout.scale() : 1) *
           (static_cast<double>(problem.clip.zeta) - problem.clip.gamma);
  const int64_t T = problem.T, H = problem.H, D = problem.D, S = problem.sink_tokens();
  double largest_log_sum_exp = 0;
  ForEachVisiblePair(problem, inputs, log_sum_exp,
                     [&](int64_t bh, int64_t i, int64_t key, double, double) {
                       const int64_t at_i = ((bh / H * T + i) * H + bh % H) * D;
                       const int64_t at_j = ((bh / H * T + key - S) * H + bh % H) * D;
                       const double* k = key < S ? &inputs.sink_key[bh % H * D] : &inputs.k[at_j];
                       const double* v = key < S ? &inputs.sink_value[bh % H * D] : &inputs.v[at_j];
                       double score = 0, dot = 0;
                       for (int64_t d = 0; d < D; ++d) {
                         score += std::abs(inputs.q[at_i + d] * k[d]) * inputs.scale;
                         dot += std::abs(inputs.dout[at_i + d] * v[d]);
                       }
                       m.score = std::max(m.score, score);
                       m.dot = std::max(m.dot, dot * m.kept);
                     });
  if (problem.weights == AttentionWeights::kRelu) {
    m.kept *= std::max(1.0, m.score);
    m.dot *= std::max(1.0, m.score);
  }
  for (const double value : log_sum_exp) {
    if (std::isfinite(value)) largest_log_sum_exp = std::max(largest_log_sum_exp, std::abs(value));
  }
  MeasureColumns(problem, inputs, log_sum_exp, m);
  m.q = LargestAbsolute(inputs.q);
  m.k = LargestAbsolute(inputs.k);
  m.v = LargestAbsolute(inputs.v);
  if (problem.sink_token) {
    m.k = std::max(m.k, LargestAbsolute(inputs.sink_key));
    m.v = std::max(m.v, LargestAbsolute(inputs.sink_value));
  }
  m.dout = LargestAbsolute(inputs.dout);
  const double t = static_cast<double>(T), d = static_cast<double>(D);
  m.probability = 2 * m.score * Roundings(d + kScoreRoundings) + Roundings(t + 8) +
                  largest_log_sum_exp * Roundings(2);
  return m;
}

// A bound of this derivation; zeros are what masks and clipping make.
inline Tolerance AttentionBound(double absolute, double relative, const char* derivation) {
  return {.absolute = absolute + std::numeric_limits<float>::min(),
          .relative = relative,
          .zeros_expected = true,
          .derivation = derivation};
}

// The gradients of sinks, summed over the whole batch. difference: error of the factor beside p in
// the gradient of the scores.
template <typename T>
void ExpectSinksClose(const AttentionProblem& problem, const AttentionInputs& inputs,
                      const AttentionMagnitudes& m, double difference,
                      const AttentionResults<T>& actual, const AttentionResults<double>& expected) {
  const std::string name = problem.Name() + StorageName<T>();
  const double sum = Roundings(static_cast<double>(problem.tokens()) + 4);
  // One rounding of the value that is added to, and of each row's part.
  const double kept = 2 * UnitRoundoff<float>();
  ExpectClose(name + "dsink_logit", actual.dsink_logit, expected.dsink_logit,
              AttentionBound(m.sink_logit * (difference + m.dot * (m.probability + sum)) + kept,
                             kept, "Σ p of the sink · (error of D + error of p + sum over B·T)"));
  ExpectClose(
      name + "dsink_key", actual.dsink_key, expected.dsink_key,
      AttentionBound(
          m.q * inputs.scale *
                  (m.sink_token * (difference + 2 * m.dot * (sum + m.operand)) + m.underflow) +
              kept,
          kept, "max|q| · scale · Σ p of the sink · (error of dS + sum over B·T)"));
  ExpectClose(
      name + "dsink_value", actual.dsink_value, expected.dsink_value,
      AttentionBound(
          m.dout * (m.kept * m.sink_token * (m.probability + sum + 2 * m.operand) + m.underflow) +
              kept,
          kept, "max|dout| · Σ p of the sink · (error of p + sum over B·T)"));
}

// Error of D_i. On CUDA ⟨dout_i, out_i⟩ unless the softmax is clipped: the errors of out, its
// rounding to storage and the sum over D, relative to Σ|dout out| <= max Σ|dout v|. Else Σ_j p dp,
// with gated values or gradients as operands of ⟨dout, v⟩.
template <typename T>
double MeanGradientError(const AttentionProblem& problem, const AttentionMagnitudes& m) {
  const double t = static_cast<double>(problem.T), d = static_cast<double>(problem.D);
  if (!kOnCuda || problem.clip.enabled()) {
    return m.dot * (m.probability + Roundings(d + 4) + Roundings(t + 4) + m.operand);
  }
  return m.dot * (m.probability + Roundings(t + 6) + 2 * m.operand + UnitRoundoff<T>() +
                  Roundings(d + 2)) +
         d * m.dout * (m.v * m.underflow + UnderflowError<T>());
}

// from_stored_output: ⟨dout', out⟩ of out as it was stored, as D_i is computed.
template <typename T>
void ExpectGateGradientClose(const AttentionProblem& problem, const AttentionMagnitudes& m,
                             const AttentionResults<T>& actual,
                             const AttentionResults<double>& expected, bool from_stored_output) {
  const std::string name = problem.Name() + StorageName<T>();
  const double t = static_cast<double>(problem.T), d = static_cast<double>(problem.D);
  const double kept = UnitRoundoff<float>();
  const double weighting = m.probability + Roundings(t + 6) + 2 * m.operand;
  const double dvalues = m.dout * (m.kept * m.column * weighting + m.underflow);
  // Relative to Σ p̃ ⟨dout, v⟩, which is summed in float.
  const double summed = m.probability + Roundings(d + 4) + Roundings(t + 4);
  if (problem.site == GateSite::kQuery && problem.per_channel) {
    ExpectClose(name + "dgate", actual.dgate, expected.dgate,
                AttentionBound(m.dout * m.v * (m.kept * weighting + m.underflow), kept,
                               "max|dout| · max|v| · (error of p + sum over T)"));
  } else if (problem.site == GateSite::kQuery) {
    ExpectClose(
        name + "dgate", actual.dgate, expected.dgate,
        AttentionBound(from_stored_output ? MeanGradientError<T>(problem, m) : m.dot * summed, kept,
                       "max Σ|dout v| · (error of p, of out if stored, + sums over D, T)"));
  } else if (problem.site == GateSite::kKey && problem.per_channel) {
    ExpectClose(name + "dgate", actual.dgate, expected.dgate,
                AttentionBound(m.v * dvalues, kept, "max|v| · error of dv"));
  } else if (problem.site == GateSite::kKey) {
    // Of dw = p̃ᵀ dout, or, in CUDA's widest tiles, of the same ⟨dout, v⟩ as at the query site.
    ExpectClose(name + "dgate", actual.dgate, expected.dgate,
                AttentionBound(d * m.v * (dvalues + m.dout * m.kept * m.column * Roundings(d + 2)),
                               kept, "D · max|v| · (error of dv + sum over D)"));
  }
}

// Compares everything that a run wrote with what the reference wrote. stored_between: how many
// times an operand is rounded to storage; 2 where gates and products are kernels of their own.
template <typename T>
void ExpectAttentionClose(const AttentionProblem& problem, const AttentionInputs& inputs,
                          const AttentionResults<T>& actual,
                          const AttentionResults<double>& expected, int stored_between = 1) {
  AttentionMagnitudes m = MeasureMagnitudes(problem, inputs, expected.log_sum_exp,
                                            stored_between * OperandRounding<T>());
  m.underflow = UnderflowError<T>() * static_cast<double>(problem.tokens() + 1);
  const double t = static_cast<double>(problem.T), d = static_cast<double>(problem.D);
  // Error of dp - D_i, the factor beside p in the gradient of the scores, and of p. Gated values or
  // gradients are operands of dp.
  const double difference =
      m.dot * (2 * m.probability + Roundings(d + 4) + m.operand) + MeanGradientError<T>(problem, m);
  // The gradient of a score, at most 2 · dot · p, is an operand itself.
  const double gradient = difference + 2 * m.dot * (Roundings(t + 4) + m.operand);
  // Relative to Σ p · values: p and its sum, and the two operands of the product.
  const double weighting = m.probability + Roundings(t + 6) + 2 * m.operand;
  const double stored = UnitRoundoff<T>(), tiny = UnderflowError<T>(), kept = UnitRoundoff<float>();
  const std::string name = problem.Name() + StorageName<T>();
  ExpectClose(name + "out", actual.out, expected.out,
              AttentionBound(m.v * (m.kept * weighting + m.underflow) + tiny, stored,
                             "max|v| · (error of p + sum over T)"));
  ExpectClose(name + "dq", actual.dq, expected.dq,
              AttentionBound(m.k * inputs.scale * (gradient + m.underflow) + tiny, stored,
                             "max|k| · scale · (error of dS + sum over T)"));
  ExpectClose(name + "dk", actual.dk, expected.dk,
              AttentionBound(m.q * inputs.scale * (m.column * gradient + m.underflow) + tiny,
                             stored, "max|q| · scale · column sum · (error of dS + sum over T)"));
  ExpectClose(name + "dv", actual.dv, expected.dv,
              AttentionBound(m.dout * (m.kept * m.column * weighting + m.underflow) + tiny, stored,
                             "max|dout| · column sum · (error of p + sum over T)"));
  ExpectGateGradientClose(problem, m, actual, expected, stored_between > 1);
  ExpectSinksClose(problem, inputs, m, difference, actual, expected);
  std::vector<double> actual_sums, expected_sums;  // where finite; -infinity must be where expected
  for (size_t i = 0; i < expected.log_sum_exp.size(); ++i) {
    if (std::isfinite(expected.log_sum_exp[i])) {
      actual_sums.push_back(static_cast<double>(actual.log_sum_exp[i]));
      expected_sums.push_back(expected.log_sum_exp[i]);
    } else {
      EXPECT_EQ(static_cast<double>(actual.log_sum_exp[i]), expected.log_sum_exp[i]) << i;
    }
  }
  ExpectClose(name + "log_sum_exp", actual_sums, expected_sums,
              AttentionBound(m.score * Roundings(d + kScoreRoundings) + Roundings(t + 4), 2 * kept,
                             "error of s + sum over T"));
}

// Inputs whose clipped entries are clipped for the kernel and for the reference, whatever the error
// of a probability.
template <typename T>
AttentionInputs InputsAwayFromKinks(const AttentionProblem& problem, uint64_t seed) {
  const bool relu = problem.weights == AttentionWeights::kRelu;
  if (!problem.clip.enabled() && !relu) return AttentionInputs::Make<T>(problem, seed);
  const AttentionInputs first = AttentionInputs::Make<T>(problem, seed);
  const AttentionMagnitudes m = MeasureMagnitudes(
      problem, first, RunAttention<double>(problem, first).log_sum_exp, OperandRounding<T>());
  // Twice: other inputs have somewhat other errors. Scores have exact operands.
  if (relu) {
    const double error = m.score * Roundings(static_cast<double>(problem.D) + kScoreRoundings);
    return MakeAwayFromKinks<T>(problem, seed, 2 * error, /*relative=*/0);
  }
  return MakeAwayFromKinks<T>(problem, seed, /*absolute=*/0, 2 * (m.probability + Roundings(4)));
}

// Runs both and compares. On CUDA what is asked for in bf16 runs in fp16 as well.
template <typename T>
void ExpectAttentionMatchesReference(const AttentionProblem& problem, uint64_t seed) {
  SCOPED_TRACE(problem.Name() + " seed " + std::to_string(seed));
  const AttentionInputs inputs = InputsAwayFromKinks<T>(problem, seed);
  ExpectAttentionClose(problem, inputs, RunAttention<T>(problem, inputs),
                       RunAttention<double>(problem, inputs));
  if constexpr (kOnCuda && std::is_same_v<T, bf16>) {
    ExpectAttentionMatchesReference<fp16>(problem, seed);
  }
}

}  // namespace sluice::testing
