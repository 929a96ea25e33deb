// Clipped softmax has a kink where its argument crosses 0 or 1, and weights without a softmax where
// the score crosses 0: gradients jump there, so tests look at inputs that keep away from it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/attention_problem.h"

namespace sluice::testing {

// Calls visit(bh, i, key, score, p) for every visible pair, given forward's log-sum-exp. Without a
// softmax p is the pair's share, 1 / n_i.
template <typename Visit>
void ForEachVisiblePair(const AttentionProblem& problem, const AttentionInputs& inputs,
                        const std::vector<double>& log_sum_exp, const Visit& visit) {
  const int64_t T = problem.T, H = problem.H, D = problem.D, S = problem.sink_tokens();
  for (int64_t bh = 0; bh < problem.B * H; ++bh) {
    const auto head_of = [&](int64_t t) { return ((bh / H * T + t) * H + bh % H) * D; };
    for (int64_t i = 0; i < T; ++i) {
      for (int64_t key = 0; key < T + S; ++key) {
        if (!problem.Sees(bh / H, i, key)) continue;
        const double* q = inputs.q.data() + head_of(i);
        const double* k =
            key < S ? inputs.sink_key.data() + bh % H * D : inputs.k.data() + head_of(key - S);
        double score = 0;
        for (int64_t d = 0; d < D; ++d) score += q[d] * k[d] * inputs.scale;
        const double share = std::exp(-log_sum_exp[bh * T + i]);
        const bool relu = problem.weights == AttentionWeights::kRelu;
        visit(bh, i, key, score, relu ? share : std::exp(score - log_sum_exp[bh * T + i]));
      }
    }
  }
}

// The least |argument of the clip - 0 or 1|, in units of the probability's own size (relative) and
// as it is (absolute), or the least |score|; infinite where there is no kink.
struct KinkDistance {
  double relative = std::numeric_limits<double>::infinity();
  double absolute = std::numeric_limits<double>::infinity();
};
inline KinkDistance DistanceToKink(const AttentionProblem& problem, const AttentionInputs& inputs) {
  KinkDistance distance;
  const bool relu = problem.weights == AttentionWeights::kRelu;
  if (!problem.clip.enabled() && !relu) return distance;
  const double gamma = problem.clip.gamma, stretch = problem.clip.zeta - gamma;
  const auto log_sum_exp = RunAttention<double>(problem, inputs).log_sum_exp;
  ForEachVisiblePair(problem, inputs, log_sum_exp,
                     [&](int64_t, int64_t, int64_t, double score, double p) {
                       if (relu) {
                         distance.absolute = std::min(distance.absolute, std::abs(score));
                         return;
                       }
                       const double u = stretch * p + gamma;
                       // p lies in [0, 1]: without a stretch the argument reaches the kink, but
                       // does not cross it.
                       double nearest = std::numeric_limits<double>::infinity();
                       if (gamma != 0) nearest = std::abs(u);
                       if (problem.clip.zeta != 1) nearest = std::min(nearest, std::abs(u - 1));
                       distance.absolute = std::min(distance.absolute, nearest);
                       distance.relative = std::min(distance.relative, nearest / (stretch * p));
                     });
  return distance;
}

// Inputs of the first seed from `seed` on, in strides, that keep away from kinks by at least
// `absolute` and `relative`.
template <typename T>
AttentionInputs MakeAwayFromKinks(const AttentionProblem& problem, uint64_t seed, double absolute,
                                  double relative) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const AttentionInputs inputs =
        AttentionInputs::Make<T>(problem, seed + 100'003 * static_cast<uint64_t>(attempt));
    const KinkDistance distance = DistanceToKink(problem, inputs);
    if (distance.absolute > absolute && distance.relative > relative) return inputs;
  }
  ADD_FAILURE() << "no inputs away from the kinks: " << problem.Name();
  return AttentionInputs::Make<T>(problem, seed);
}

}  // namespace sluice::testing
