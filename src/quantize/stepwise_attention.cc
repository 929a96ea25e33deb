#include "quantize/stepwise_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/integer_math.h"
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

// Rows and columns of a product that are summed at a time, in registers.
constexpr int64_t kBlockRows = 4, kBlockColumns = 8;

int64_t PaddedColumns(int64_t columns) { return RoundUp(columns, kBlockColumns); }

// A matrix (inner, columns), its rows padded to PaddedColumns with zeros.
struct Padded {
  explicit Padded(int64_t inner, int64_t columns)
      : stride(PaddedColumns(columns)), values(inner * stride) {}
  float& operator()(int64_t row, int64_t column) { return values[row * stride + column]; }

  int64_t stride;
  std::vector<float> values;
};

using Block = float[kBlockRows][kBlockColumns];

// sums = kBlockRows rows times kBlockColumns columns of a padded matrix, which begin at `columns`.
void MultiplyBlock(const float* const (&rows)[kBlockRows], const float* columns, int64_t stride,
                   int64_t inner, Block& sums) {
  Block block = {};
  for (int64_t i = 0; i < inner; ++i) {
    const float* y = columns + i * stride;
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const float x = rows[r][i];
      for (int64_t c = 0; c < kBlockColumns; ++c) block[r][c] += x * y[c];
    }
  }
  std::memcpy(sums, block, sizeof(block));
}

// Calls store(row, column, sums, count) for pieces of rows · matrix: `count` sums of a row, from a
// column on.
template <typename RowOf, typename Store>
void Multiply(int64_t rows, int64_t inner, int64_t columns, const RowOf& row_of,
              const Padded& matrix, const Store& store) {
  for (int64_t first = 0; first < rows; first += kBlockRows) {
    const int64_t here = std::min(kBlockRows, rows - first);
    const float* block_rows[kBlockRows];  // beyond the last one that one again
    for (int64_t r = 0; r < kBlockRows; ++r) block_rows[r] = row_of(first + std::min(r, here - 1));
    for (int64_t column = 0; column < columns; column += kBlockColumns) {
      Block sums;
      MultiplyBlock(block_rows, matrix.values.data() + column, matrix.stride, inner, sums);
      const int64_t count = std::min(kBlockColumns, columns - column);
      for (int64_t r = 0; r < here; ++r) store(first + r, column, sums[r], count);
    }
  }
}

void Score(const Head& head) {
  const int64_t T = head.T(), D = head.D(), K = head.keys(), sinks = head.sinks();
  const float scale = 1 / std::sqrt(static_cast<float>(D));
  Padded keys(D, K);  // transposed
  for (int64_t d = 0; d < D && sinks > 0; ++d) {
    keys(d, 0) = head.attention.sink_key.as<float>()[head.h * D + d];
  }
  for (int64_t j = 0; j < T; ++j) {
    const float* key = head.Projected(1, j);
    for (int64_t d = 0; d < D; ++d) keys(d, sinks + j) = key[d];
  }
  Multiply(
      T, D, K, [&](int64_t i) { return head.Projected(0, i); }, keys,
      [&](int64_t i, int64_t key, const float* sums, int64_t count) {
        float* row = head.rows + i * K + key;
        for (int64_t n = 0; n < count; ++n) row[n] = sums[n] * scale;
      });
}

// The logit that joins the denominator; -infinity: none.
float SinkLogit(const ObservedAttention& attention, int64_t h) {
  if (attention.variant.sink == SoftmaxSink::kNone) return -INFINITY;
  return attention.variant.sink == SoftmaxSink::kZero ? 0 : attention.sink_logit.as<float>()[h];
}

// Which keys query i sees; a sink token is seen where the query sees itself. Without documents they
// are the first ones.
void MarkVisible(const Head& head, int64_t i, std::vector<char>& seen) {
  const AttentionMask& mask = head.attention.mask;
  const int64_t T = head.T(), sinks = head.sinks();
  for (int64_t sink = 0; sink < sinks; ++sink) seen[sink] = Visible(mask, T, head.b, i, i);
  if (mask.documents != nullptr) {
    for (int64_t j = 0; j < T; ++j) seen[sinks + j] = Visible(mask, T, head.b, i, j);
    return;
  }
  const int64_t length = mask.lengths == nullptr ? T : mask.lengths[head.b];
  const int64_t reach = mask.causal ? std::max<int64_t>(mask.registers, i + 1) : T;
  const int64_t end = i < length ? std::min(length, reach) : 0;
  std::fill(seen.begin() + sinks, seen.begin() + sinks + end, char{1});
  std::fill(seen.begin() + sinks + end, seen.end(), char{0});
}

// max(score, 0) over the number of keys that are seen.
void Rectify(const Head& head) {
  const int64_t T = head.T(), K = head.keys();
  std::vector<char> seen(K);
  for (int64_t i = 0; i < T; ++i) {
    float* row = head.rows + i * K;
    MarkVisible(head, i, seen);
    const auto count = static_cast<float>(std::ranges::count(seen, char{1}));
    for (int64_t key = 0; key < K; ++key) {
      row[key] = seen[key] ? std::max(row[key], 0.0f) / count : 0;
    }
  }
}

void Softmax(const Head& head) {
  const int64_t T = head.T(), K = head.keys();
  const ClippedSoftmax& clip = head.attention.variant.clip;
  const float sink = SinkLogit(head.attention, head.h);
  std::vector<char> seen(K);
  for (int64_t i = 0; i < T; ++i) {
    float* row = head.rows + i * K;
    float largest = -INFINITY;
    MarkVisible(head, i, seen);
    for (int64_t key = 0; key < K; ++key) {
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
  Padded values(K, D);
  for (int64_t d = 0; d < D && sinks > 0; ++d) {
    values(0, d) = head.attention.sink_value.as<float>()[head.h * D + d];
  }
  const bool gated = head.attention.variant.gate_site == GateSite::kKey;
  for (int64_t j = 0; j < T; ++j) {
    for (int64_t d = 0; d < D; ++d) {
      values(sinks + j, d) = head.Value(j)[d] * (gated ? head.Gate(j, d) : 1);
    }
  }
  Multiply(
      T, K, D, [&](int64_t i) { return head.rows + i * K; }, values,
      [&](int64_t i, int64_t d, const float* sums, int64_t count) {
        std::copy_n(sums, count, head.Context(i) + d);
      });
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
    for_heads(attention.variant.weights == AttentionWeights::kRelu ? Rectify : Softmax);
    steps.probabilities(rows);
    for_heads(MixValues);
    if (steps.context) steps.context(attention.context.Rows(begin * T, sequences * T));
    if (attention.variant.gate_site == GateSite::kQuery) for_heads(GateContext);
  }
}

}  // namespace sluice
