#include "kernels/api/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sluice::reference {
namespace {

// Keys are counted with the sink token, when there is one, as number 0.
template <typename Args>
int64_t SinkTokens(const Args& args) {
  return args.sink_key == nullptr ? 0 : 1;
}

// Offset of element 0 of head h of token t in q, k and v.
template <typename Args>
int64_t TokenOffset(const Args& args, int64_t b, int64_t t, int64_t h) {
  return (b * args.T_ + t) * args.qkv_stride + h * args.D;
}

// Tokens i and j, registers included.
bool TokenVisible(const AttentionMask& mask, int64_t T, int64_t b, int64_t i, int64_t j) {
  if (mask.lengths != nullptr && (i >= mask.lengths[b] || j >= mask.lengths[b])) return false;
  if (j < mask.registers) return true;
  if (mask.causal && j > i) return false;
  if (mask.documents == nullptr) return true;
  return i >= mask.registers && mask.documents[b * T + i] == mask.documents[b * T + j];
}

// Whether query i of row b sees key number `key`.
template <typename Args>
bool Visible(const Args& args, int64_t b, int64_t i, int64_t key) {
  const int64_t j = key - SinkTokens(args);
  return TokenVisible(args.mask, args.T_, b, i, j < 0 ? i : j);
}

template <typename Args>
const double* KeyRow(const Args& args, int64_t b, int64_t h, int64_t key) {
  const int64_t j = key - SinkTokens(args);
  return j < 0 ? args.sink_key + h * args.D : args.k + TokenOffset(args, b, j, h);
}
template <typename Args>
const double* ValueRow(const Args& args, int64_t b, int64_t h, int64_t key) {
  const int64_t j = key - SinkTokens(args);
  return j < 0 ? args.sink_value + h * args.D : args.v + TokenOffset(args, b, j, h);
}

template <typename Args>
double Score(const Args& args, int64_t b, int64_t h, int64_t i, int64_t key) {
  if (!Visible(args, b, i, key)) return -INFINITY;
  const double* q = args.q + TokenOffset(args, b, i, h);
  const double* k = KeyRow(args, b, h, key);
  double dot = 0;
  for (int64_t d = 0; d < args.D; ++d) dot += q[d] * k[d];
  return dot * args.scale;
}

// The logit of head h that joins the denominator; -infinity: none.
template <typename Args>
double SinkLogit(const Args& args, int64_t h) {
  if (args.sink == SoftmaxSink::kNone) return -INFINITY;
  return args.sink == SoftmaxSink::kZero ? 0 : args.sink_logit[h];
}

template <typename Args>
double Unclipped(const Args& args, double p) {
  const double gamma = args.clip.gamma, zeta = args.clip.zeta;
  return args.clip.enabled() ? (zeta - gamma) * p + gamma : p;
}

template <typename Args>
double PairFactor(const Args& args, int64_t b, int64_t h, int64_t i, int64_t key) {
  if (!args.dropout.enabled()) return 1;
  return DropoutFactor(args.dropout, args.dropout.sample_index[b], h * args.T_ + i, key,
                       args.T_ + SinkTokens(args));
}

// Where the gate of channel d of token t lies.
template <typename Args>
int64_t GateIndex(const Args& args, int64_t b, int64_t t, int64_t h, int64_t d) {
  const int64_t head = (b * args.T_ + t) * args.H + h;
  return args.gate_per_channel ? head * args.D + d : head;
}
template <typename Args>
double QueryGate(const Args& args, int64_t b, int64_t i, int64_t h, int64_t d) {
  return args.gate_site == GateSite::kQuery ? args.gate[GateIndex(args, b, i, h, d)] : 1;
}
template <typename Args>
double KeyGate(const Args& args, int64_t b, int64_t key, int64_t h, int64_t d) {
  const int64_t j = key - SinkTokens(args);
  if (args.gate_site != GateSite::kKey || j < 0) return 1;
  return args.gate[GateIndex(args, b, j, h, d)];
}

// The weight of a pair, before clipping, and how it grows with the score; log_of_all: forward's
// log_sum_exp of the query.
struct Weight {
  double value, slope;
};
template <typename Args>
Weight WeightOf(const Args& args, double score, double log_of_all) {
  if (args.weights == AttentionWeights::kSoftmax) {
    const double p = std::exp(score - log_of_all);
    return {p, p};
  }
  const double share = std::exp(-log_of_all);
  return {std::fmax(score, 0) * share, score > 0 ? share : 0};
}

void ForwardRow(const AttentionForwardArgs<double>& args, int64_t b, int64_t h, int64_t i) {
  const int64_t keys = args.T_ + SinkTokens(args);
  double* out = args.out + ((b * args.T_ + i) * args.H + h) * args.D;
  std::fill_n(out, args.D, 0.0);
  std::vector<double> scores(keys);
  double largest = -INFINITY;
  int64_t seen = 0;
  for (int64_t key = 0; key < keys; ++key) {
    scores[key] = Score(args, b, h, i, key);
    largest = std::fmax(largest, scores[key]);
    if (Visible(args, b, i, key)) ++seen;
  }
  double log_sum_exp = -INFINITY;
  if (seen > 0) {
    if (args.weights == AttentionWeights::kRelu) {
      log_sum_exp = std::log(static_cast<double>(seen));
    } else {
      const double sink_logit = SinkLogit(args, h);
      largest = std::fmax(largest, sink_logit);
      double sum = std::exp(sink_logit - largest);
      for (double score : scores) sum += std::exp(score - largest);
      log_sum_exp = largest + std::log(sum);
    }
    for (int64_t key = 0; key < keys; ++key) {
      if (!Visible(args, b, i, key)) continue;
      const double p = WeightOf(args, scores[key], log_sum_exp).value;
      const double weight = (args.clip.enabled() ? std::clamp(Unclipped(args, p), 0.0, 1.0) : p) *
                            PairFactor(args, b, h, i, key);
      const double* v = ValueRow(args, b, h, key);
      for (int64_t d = 0; d < args.D; ++d) out[d] += weight * KeyGate(args, b, key, h, d) * v[d];
    }
    for (int64_t d = 0; d < args.D; ++d) out[d] *= QueryGate(args, b, i, h, d);
  }
  if (args.log_sum_exp != nullptr) args.log_sum_exp[(b * args.H + h) * args.T_ + i] = log_sum_exp;
}

// Where gradients of key number `key` of a row go.
struct KeyGradients {
  double* k;  // (D)
  double* v;  // (D)
};
KeyGradients GradientsOf(const AttentionBackwardArgs<double>& args, int64_t b, int64_t h,
                         int64_t key) {
  const int64_t j = key - SinkTokens(args);
  if (j < 0) return {args.dsink_key + h * args.D, args.dsink_value + h * args.D};
  const int64_t at = TokenOffset(args, b, j, h);
  return {args.dk + at, args.dv + at};
}

// Adds to dv and dgate what pair (i, key) contributes with weight p̃; returns ∂loss / ∂p̃.
double BackwardPair(const AttentionBackwardArgs<double>& args, int64_t b, int64_t h, int64_t i,
                    int64_t key, double weight) {
  const double* dout = args.dout + ((b * args.T_ + i) * args.H + h) * args.D;
  const double* v = ValueRow(args, b, h, key);
  const KeyGradients gradients = GradientsOf(args, b, h, key);
  const int64_t j = key - SinkTokens(args);
  double dweight = 0;
  for (int64_t d = 0; d < args.D; ++d) {
    const double query_gate = QueryGate(args, b, i, h, d), key_gate = KeyGate(args, b, key, h, d);
    dweight += query_gate * key_gate * dout[d] * v[d];
    gradients.v[d] += weight * query_gate * key_gate * dout[d];
    if (args.gate_site == GateSite::kQuery) {
      args.dgate[GateIndex(args, b, i, h, d)] += weight * dout[d] * v[d];
    } else if (args.gate_site == GateSite::kKey && j >= 0) {
      args.dgate[GateIndex(args, b, j, h, d)] += weight * dout[d] * v[d];
    }
  }
  return dweight;
}

void BackwardRow(const AttentionBackwardArgs<double>& args, int64_t b, int64_t h, int64_t i) {
  const int64_t keys = args.T_ + SinkTokens(args);
  const double log_sum_exp = args.log_sum_exp[(b * args.H + h) * args.T_ + i];
  if (log_sum_exp == -INFINITY) return;
  const bool softmax = args.weights == AttentionWeights::kSoftmax;
  std::vector<double> slope(keys), dp(keys);
  double dot_p_dp = 0;
  for (int64_t key = 0; key < keys; ++key) {
    const double score = Score(args, b, h, i, key);
    if (score == -INFINITY) continue;
    const Weight p = WeightOf(args, score, log_sum_exp);
    slope[key] = p.slope;
    const double unclipped = Unclipped(args, p.value);
    const double factor = PairFactor(args, b, h, i, key);
    const double weight = args.clip.enabled() ? std::clamp(unclipped, 0.0, 1.0) : p.value;
    const double dweight = BackwardPair(args, b, h, i, key, weight * factor);
    dp[key] = factor * dweight;
    if (args.clip.enabled()) {
      const bool passes = unclipped >= 0 && unclipped <= 1;
      dp[key] *= passes ? static_cast<double>(args.clip.zeta) - args.clip.gamma : 0;
    }
    if (softmax) dot_p_dp += p.value * dp[key];
  }
  const int64_t row_i = TokenOffset(args, b, i, h);
  for (int64_t key = 0; key < keys; ++key) {
    const double ds = slope[key] * (dp[key] - dot_p_dp) * args.scale;
    const double* k = KeyRow(args, b, h, key);
    const KeyGradients gradients = GradientsOf(args, b, h, key);
    for (int64_t d = 0; d < args.D && ds != 0; ++d) {
      args.dq[row_i + d] += ds * k[d];
      gradients.k[d] += ds * args.q[row_i + d];
    }
  }
  if (args.sink == SoftmaxSink::kLogit) {
    args.dsink_logit[h] -= std::exp(args.sink_logit[h] - log_sum_exp) * dot_p_dp;
  }
}

}  // namespace

void AttentionForward(const AttentionForwardArgs<double>& args) {
  for (int64_t row = 0; row < args.B * args.H * args.T_; ++row) {
    ForwardRow(args, row / (args.H * args.T_), row / args.T_ % args.H, row % args.T_);
  }
}

void AttentionBackward(const AttentionBackwardArgs<double>& args) {
  const int64_t gates = args.H * (args.gate_per_channel ? args.D : 1);
  for (int64_t token = 0; token < args.B * args.T_; ++token) {
    for (double* gradient : {args.dq, args.dk, args.dv}) {
      std::fill_n(gradient + token * args.qkv_stride, args.H * args.D, 0.0);
    }
    if (args.dgate != nullptr) std::fill_n(args.dgate + token * gates, gates, 0.0);
  }
  for (int64_t row = 0; row < args.B * args.H * args.T_; ++row) {
    BackwardRow(args, row / (args.H * args.T_), row / args.T_ % args.H, row % args.T_);
  }
}

}  // namespace sluice::reference
