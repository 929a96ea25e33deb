#include "telemetry/attention_probabilities.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/bf16.h"
#include "core/check.h"
#include "core/integer_math.h"

namespace sluice {
namespace {

template <typename From, typename To>
void Convert(const TensorView& view, int64_t row, int64_t first_column, std::span<To> to) {
  const From* from = view.as<From>() + row * view.row_stride() + first_column;
  for (size_t i = 0; i < to.size(); ++i) {
    if constexpr (std::is_same_v<From, bf16>) {
      to[i] = static_cast<To>(static_cast<float>(from[i]));
    } else {
      to[i] = static_cast<To>(from[i]);
    }
  }
}

double LogitOf(const ObservedAttention& attention, int64_t h) {
  if (attention.variant.sink == SoftmaxSink::kNone) {
    return -std::numeric_limits<double>::infinity();
  }
  if (attention.variant.sink == SoftmaxSink::kZero) return 0;
  PaddedRows<double> logit;
  logit.Load(attention.sink_logit, 0, 1, h, 1);
  return logit.values[0];
}

// Queries, keys and, behind them, the sink token's key.
template <typename T>
void LoadHead(const ObservedAttention& attention, int64_t b, int64_t h, PaddedRows<T>& q,
              PaddedRows<T>& k) {
  const int64_t D = attention.D, C = attention.H * D, first = b * attention.T;
  q.Load(attention.qkv, first, attention.T, h * D, D);
  k.Load(attention.qkv, first, attention.T, C + h * D, D);
  if (attention.sink_key.null()) return;
  PaddedRows<T> sink;
  sink.Load(attention.sink_key, h, 1, 0, D);
  k.values.insert(k.values.end(), sink.values.begin(), sink.values.end());
}

}  // namespace

template <typename T>
void PaddedRows<T>::Load(const TensorView& view, int64_t first_row, int64_t rows,
                         int64_t first_column, int64_t columns) {
  stride = RoundUp(columns, 16);
  values.assign(static_cast<size_t>(rows * stride), T{0});
  for (int64_t row = 0; row < rows; ++row) {
    const std::span<T> to(values.data() + row * stride, static_cast<size_t>(columns));
    switch (view.dtype()) {
      case DType::kFloat32:
        Convert<float>(view, first_row + row, first_column, to);
        break;
      case DType::kFloat64:
        Convert<double>(view, first_row + row, first_column, to);
        break;
      default:
        Convert<bf16>(view, first_row + row, first_column, to);
    }
  }
}

template struct PaddedRows<float>;
template struct PaddedRows<double>;

void AttentionProbabilities::Load(const ObservedAttention& attention, int64_t b, int64_t h) {
  const AttentionMask& mask = attention.mask;
  CHECK(mask.causal && mask.lengths == nullptr && mask.documents == nullptr);
  wide_ = attention.qkv.dtype() == DType::kFloat64;
  if (wide_) {
    LoadHead(attention, b, h, wq_, wk_);
  } else {
    LoadHead(attention, b, h, q_, k_);
  }
  rows_ = attention.T;
  registers_ = mask.registers;
  sink_token_ = !attention.sink_key.null();
  scale_ = 1 / std::sqrt(static_cast<double>(attention.D));
  sink_logit_ = LogitOf(attention, h);
  clip_ = attention.variant.clip;
  scores_.resize(static_cast<size_t>(rows_ + 1));
  probabilities_.resize(static_cast<size_t>(rows_ + 1));
}

// scores_[0 … query]; the sink token's in scores_[query + 1].
void AttentionProbabilities::Score(int64_t query) {
  for (int64_t j = 0; j <= query + (sink_token_ ? 1 : 0); ++j) {
    const int64_t key = j <= query ? j : rows_;
    scores_[static_cast<size_t>(j)] =
        scale_ * (wide_ ? InnerProduct(wq_.Row(query), wk_.Row(key), wq_.stride)
                        : InnerProduct(q_.Row(query), k_.Row(key), q_.stride));
  }
}

AttentionProbabilities::QueryRow AttentionProbabilities::Row(int64_t i) {
  const int64_t query = registers_ + i;
  Score(query);
  const auto keys = static_cast<size_t>(query + 1 + (sink_token_ ? 1 : 0));
  double largest = sink_logit_;
  for (size_t j = 0; j < keys; ++j) largest = std::max(largest, scores_[j]);
  double sum = std::exp(sink_logit_ - largest);
  for (size_t j = 0; j < keys; ++j) {
    probabilities_[j] = std::exp(scores_[j] - largest);
    sum += probabilities_[j];
  }
  double entropy = 0;
  for (size_t j = 0; j < keys; ++j) {
    double& p = probabilities_[j];
    p /= sum;
    if (clip_.enabled()) {
      const double gamma = clip_.gamma, zeta = clip_.zeta;
      p = std::clamp((zeta - gamma) * p + gamma, 0.0, 1.0);
    }
    if (p > 0) entropy -= p * std::log(p);
  }
  const auto first = static_cast<size_t>(registers_), count = static_cast<size_t>(i + 1);
  return {.scores = std::span<const double>(scores_).subspan(first, count),
          .probabilities = std::span<const double>(probabilities_).subspan(first, count),
          .entropy = entropy};
}

}  // namespace sluice
