#include "kernels/api/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sluice::reference {
namespace {

bool Visible(const AttentionMask& mask, int64_t T, int64_t b, int64_t i, int64_t j) {
  if (mask.causal && j > i) return false;
  if (mask.lengths != nullptr && (i >= mask.lengths[b] || j >= mask.lengths[b])) return false;
  return mask.documents == nullptr || mask.documents[b * T + i] == mask.documents[b * T + j];
}

// Offset of element 0 of head h of token t in q, k and v.
template <typename Args>
int64_t TokenOffset(const Args& args, int64_t b, int64_t t, int64_t h) {
  return (b * args.T_ + t) * args.qkv_stride + h * args.D;
}

template <typename Args>
double Score(const Args& args, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (!Visible(args.mask, args.T_, b, i, j)) return -INFINITY;
  double dot = 0;
  for (int64_t d = 0; d < args.D; ++d) {
    dot += args.q[TokenOffset(args, b, i, h) + d] * args.k[TokenOffset(args, b, j, h) + d];
  }
  return dot * args.scale;
}

template <typename Args>
double PairFactor(const Args& args, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (!args.dropout.enabled()) return 1;
  return DropoutFactor(args.dropout, args.dropout.sample_index[b], h * args.T_ + i, j, args.T_);
}

// The gate of token t where `site` is the site in use, else 1.
template <typename Args>
double GateAt(const Args& args, GateSite site, int64_t b, int64_t t, int64_t h) {
  return args.gate_site == site ? args.gate[(b * args.T_ + t) * args.H + h] : 1;
}

void ForwardRow(const AttentionForwardArgs<double>& args, int64_t b, int64_t h, int64_t i) {
  std::vector<double> p(args.T_);
  double largest = -INFINITY, sum = 0;
  for (int64_t j = 0; j < args.T_; ++j) {
    p[j] = Score(args, b, h, i, j);
    largest = std::fmax(largest, p[j]);
  }
  for (double& value : p) {
    value = value == -INFINITY ? 0 : std::exp(value - largest);
    sum += value;
  }
  const double log_sum_exp = sum > 0 ? largest + std::log(sum) : -INFINITY;
  if (args.log_sum_exp != nullptr) args.log_sum_exp[(b * args.H + h) * args.T_ + i] = log_sum_exp;
  for (int64_t j = 0; j < args.T_ && sum > 0; ++j) {
    p[j] *= PairFactor(args, b, h, i, j) * GateAt(args, GateSite::kKey, b, j, h) / sum;
  }
  for (int64_t d = 0; d < args.D; ++d) {
    double out = 0;
    for (int64_t j = 0; j < args.T_; ++j) out += p[j] * args.v[TokenOffset(args, b, j, h) + d];
    args.out[((b * args.T_ + i) * args.H + h) * args.D + d] =
        out * GateAt(args, GateSite::kQuery, b, i, h);
  }
}

void BackwardRow(const AttentionBackwardArgs<double>& args, int64_t b, int64_t h, int64_t i) {
  const double* dout = args.dout + ((b * args.T_ + i) * args.H + h) * args.D;
  const double query_gate = GateAt(args, GateSite::kQuery, b, i, h);
  std::vector<double> p(args.T_), dp(args.T_);
  double dot_p_dp = 0;
  for (int64_t j = 0; j < args.T_; ++j) {
    const double score = Score(args, b, h, i, j);
    if (score == -INFINITY) continue;
    const double key_gate = GateAt(args, GateSite::kKey, b, j, h);
    const double factor = PairFactor(args, b, h, i, j);
    p[j] = std::exp(score - args.log_sum_exp[(b * args.H + h) * args.T_ + i]);
    double dot_dout_v = 0;
    for (int64_t d = 0; d < args.D; ++d) {
      const int64_t at = TokenOffset(args, b, j, h) + d;
      dot_dout_v += dout[d] * args.v[at];
      args.dv[at] += query_gate * p[j] * factor * key_gate * dout[d];
    }
    if (args.gate_site != GateSite::kNone) {
      const int64_t gated_token = b * args.T_ + (args.gate_site == GateSite::kQuery ? i : j);
      args.dgate[gated_token * args.H + h] += p[j] * factor * dot_dout_v;
    }
    dp[j] = query_gate * factor * key_gate * dot_dout_v;
    dot_p_dp += p[j] * dp[j];
  }
  for (int64_t j = 0; j < args.T_; ++j) {
    const double ds = p[j] * (dp[j] - dot_p_dp) * args.scale;
    const int64_t row_i = TokenOffset(args, b, i, h), row_j = TokenOffset(args, b, j, h);
    for (int64_t d = 0; d < args.D && ds != 0; ++d) {
      args.dq[row_i + d] += ds * args.k[row_j + d];
      args.dk[row_j + d] += ds * args.q[row_i + d];
    }
  }
}

}  // namespace

void AttentionForward(const AttentionForwardArgs<double>& args) {
  for (int64_t row = 0; row < args.B * args.H * args.T_; ++row) {
    ForwardRow(args, row / (args.H * args.T_), row / args.T_ % args.H, row % args.T_);
  }
}

void AttentionBackward(const AttentionBackwardArgs<double>& args) {
  for (int64_t token = 0; token < args.B * args.T_; ++token) {
    for (double* gradient : {args.dq, args.dk, args.dv}) {
      std::fill_n(gradient + token * args.qkv_stride, args.H * args.D, 0.0);
    }
    if (args.dgate != nullptr) std::fill_n(args.dgate + token * args.H, args.H, 0.0);
  }
  for (int64_t row = 0; row < args.B * args.H * args.T_; ++row) {
    BackwardRow(args, row / (args.H * args.T_), row / args.T_ % args.H, row % args.T_);
  }
}

}  // namespace sluice::reference
