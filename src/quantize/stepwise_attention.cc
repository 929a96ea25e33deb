#include "quantize/stepwise_attention.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"

namespace sluice {
namespace {

// One sequence and head.
struct Head {
  const ObservedAttention& attention;
  const TensorView& values;
  int64_t b, h;
  float* rows;  // (T, K)

  int64_t T() const { return attention.T; }
  int64_t D() const { return attention.D; }
  int64_t sinks() const { return attention.variant.sink_token ? 1 : 0; }
  int64_t keys() const { return T() + sinks(); }
  // Query (part 0) or key (part 1) of token t.
  const float* Projected(int64_t part, int64_t t) const {
    return attention.qkv.as<float>() + (b * T() + t) * attention.qkv.row_stride() +
           (part * attention.H + h) * D();
  }
  const float* Value(int64_t t) const {
    return values.as<float>() + (b * T() + t) * values.row_stride() + h * D();
  }
  float* Context(int64_t t) const {
    return attention.context.as<float>() + (b * T() + t) * attention.context.row_stride() + h * D();
  }
  // Of token t, channel d.
  float Gate(int64_t t, int64_t d) const {
    const float* row = attention.gate.as<float>() + (b * T() + t) * attention.gate.row_stride();
    return attention.variant.gate_per_channel() ? row[h * D() + d] : row[h];
  }
};

// kernels/api/attention.h's AttentionMask.
bool Visible(const AttentionMask& mask, int64_t T, int64_t b, int64_t i, int64_t j) {
  if (mask.lengths != nullptr && (i >= mask.lengths[b] || j >= mask.lengths[b])) return false;
  if (j < mask.registers) return true;
  if (mask.causal && j > i) return false;
  if (mask.documents == nullptr) return true;
  return i >= mask.registers && mask.documents[b * T + i] == mask.documents[b * T + j];
}

void Score(const Head& head) {
  const int64_t T = head.T(), D = head.D(), K = head.keys(), sinks = head.sinks();
  const float scale = 1 / std::sqrt(static_cast<float>(D));
  std::vector<float> keys(D * K);  // transposed: the inner loop runs along keys
  for (int64_t d = 0; d < D; ++d) {
    if (sinks > 0) keys[d * K] = head.attention.sink_key.as<float>()[head.h * D + d];
    for (int64_t j = 0; j < T; ++j) keys[d * K + sinks + j] = head.Projected(1, j)[d];
  }
  for (int64_t i = 0; i < T; ++i) {
    float* row = head.rows + i * K;
    std::fill_n(row, K, 0.0f);
    const float* query = head.Projected(0, i);
    for (int64_t d = 0; d < D; ++d) {
      for (int64_t key = 0; key < K; ++key) row[key] += query[d] * keys[d * K + key];
    }
    for (int64_t key = 0; key < K; ++key) row[key] *= scale;
  }
}

// The logit that joins the denominator; -infinity: none.
float SinkLogit(const ObservedAttention& attention, int64_t h) {
  if (attention.variant.sink == SoftmaxSink::kNone) return -INFINITY;
  return attention.variant.sink == SoftmaxSink::kZero ? 0 : attention.sink_logit.as<float>()[h];
}

void Softmax(const Head& head) {
  const int64_t T = head.T(), K = head.keys(), sinks = head.sinks();
  const ClippedSoftmax& clip = head.attention.variant.clip;
  const float sink = SinkLogit(head.attention, head.h);
  std::vector<char> seen(K);
  for (int64_t i = 0; i < T; ++i) {
    float* row = head.rows + i * K;
    float largest = -INFINITY;
    for (int64_t key = 0; key < K; ++key) {
      const int64_t j = key < sinks ? i : key - sinks;
      seen[key] = Visible(head.attention.mask, T, head.b, i, j);
      if (seen[key]) largest = std::max(largest, row[key]);
    }
    if (largest == -INFINITY) {  // padding
      std::fill_n(row, K, 0.0f);
      continue;
    }
    largest = std::max(largest, sink);
    float sum = std::exp(sink - largest);
    for (int64_t key = 0; key < K; ++key) {
      row[key] = seen[key] ? std::exp(row[key] - largest) : 0;
      sum += row[key];
    }
    for (int64_t key = 0; key < K; ++key) {
      row[key] /= sum;
      if (!clip.enabled() || !seen[key]) continue;
      row[key] = std::clamp((clip.zeta - clip.gamma) * row[key] + clip.gamma, 0.0f, 1.0f);
    }
  }
}

void MixValues(const Head& head) {
  const int64_t T = head.T(), D = head.D(), K = head.keys(), sinks = head.sinks();
  std::vector<float> values(K * D);
  for (int64_t d = 0; d < D && sinks > 0; ++d) {
    values[d] = head.attention.sink_value.as<float>()[head.h * D + d];
  }
  const bool gated = head.attention.variant.gate_site == GateSite::kKey;
  for (int64_t j = 0; j < T; ++j) {
    for (int64_t d = 0; d < D; ++d) {
      values[(sinks + j) * D + d] = head.Value(j)[d] * (gated ? head.Gate(j, d) : 1);
    }
  }
  for (int64_t i = 0; i < T; ++i) {
    float* out = head.Context(i);
    std::fill_n(out, D, 0.0f);
    for (int64_t key = 0; key < K; ++key) {
      const float weight = head.rows[i * K + key];
      if (weight == 0) continue;
      for (int64_t d = 0; d < D; ++d) out[d] += weight * values[key * D + d];
    }
  }
}

void GateContext(const Head& head) {
  for (int64_t i = 0; i < head.T(); ++i) {
    for (int64_t d = 0; d < head.D(); ++d) head.Context(i)[d] *= head.Gate(i, d);
  }
}

}  // namespace

void StepwiseAttention::Run(const ObservedAttention& attention, const TensorView& values,
                            int64_t together, const AttentionSteps& steps) {
  const int64_t T = attention.T, H = attention.H;
  const int64_t K = T + (attention.variant.sink_token ? 1 : 0);
  rows_.resize(std::min(together, attention.B) * H * T * K);
  for (int64_t begin = 0; begin < attention.B; begin += together) {
    const int64_t sequences = std::min(together, attention.B - begin);
    const auto for_heads = [&](void (*step)(const Head&)) {
      ParallelFor(sequences * H, /*grain=*/1, [&](int64_t first, int64_t last) {
        for (int64_t n = first; n < last; ++n) {
          step({attention, values, begin + n / H, n % H, rows_.data() + n * T * K});
        }
      });
    };
    const TensorView rows = TensorView::Of(rows_.data(), {sequences * H * T, K});
    for_heads(Score);
    steps.scores(rows);
    for_heads(Softmax);
    steps.probabilities(rows);
    for_heads(MixValues);
    if (steps.context) steps.context(attention.context.Rows(begin * T, sequences * T));
    if (attention.variant.gate_site == GateSite::kQuery) for_heads(GateContext);
  }
}

}  // namespace sluice
