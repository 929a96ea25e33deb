#include "telemetry/attention_probabilities.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/bf16.h"
#include "core/fp16.h"
#include "core/integer_math.h"

namespace sluice {
namespace {

constexpr int64_t kKeyBlock = 32;      // scores that are summed side by side
constexpr int64_t kChannelBlock = 16;  // channels that are summed before a sum becomes double

template <typename From, typename To>
void Convert(const TensorView& view, int64_t row, int64_t first_column, std::span<To> to) {
  const From* from = view.as<From>() + row * view.row_stride() + first_column;
  for (size_t i = 0; i < to.size(); ++i) {
    if constexpr (sizeof(From) == 2) {
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
      case DType::kFloat16:
        Convert<fp16>(view, first_row + row, first_column, to);
        break;
      default:
        Convert<bf16>(view, first_row + row, first_column, to);
    }
  }
}

template struct PaddedRows<float>;
template struct PaddedRows<double>;

template <typename T>
void AttentionProbabilities::Operands<T>::Load(const ObservedAttention& attention, int64_t b,
                                               int64_t h) {
  const int64_t D = attention.D, C = attention.H * D, first = b * attention.T;
  queries.Load(attention.qkv, first, attention.T, h * D, D);
  PaddedRows<T> rows;
  rows.Load(attention.qkv, first, attention.T, C + h * D, D);
  // A block of keys may begin anywhere and reach behind the last one.
  key_stride = attention.T + kKeyBlock;
  keys.assign(static_cast<size_t>(D * key_stride), T{0});
  for (int64_t t = 0; t < attention.T; ++t) {
    for (int64_t d = 0; d < D; ++d) {
      keys[static_cast<size_t>(d * key_stride + t)] = rows.Row(t)[d];
    }
  }
  if (!attention.sink_key.null()) sink_key.Load(attention.sink_key, h, 1, 0, D);
}

template <typename T>
void AttentionProbabilities::Operands<T>::Score(int64_t query, Range range, int64_t head_size,
                                                double* scores) const {
  const T* q = queries.Row(query);
  for (int64_t j = range.begin; j < range.end; j += kKeyBlock) {
    double sums[kKeyBlock] = {};
    for (int64_t d = 0; d < head_size; d += kChannelBlock) {
      T parts[kKeyBlock] = {};
      const int64_t end = std::min(d + kChannelBlock, head_size);
      for (int64_t channel = d; channel < end; ++channel) {
        const T* k = keys.data() + channel * key_stride + j;
        for (int64_t lane = 0; lane < kKeyBlock; ++lane) parts[lane] += q[channel] * k[lane];
      }
      for (int64_t lane = 0; lane < kKeyBlock; ++lane) sums[lane] += parts[lane];
    }
    std::copy_n(sums, std::min(kKeyBlock, range.end - j), scores + (j - range.begin));
  }
}

void AttentionProbabilities::Load(const ObservedAttention& attention, int64_t b, int64_t h) {
  const AttentionMask& mask = attention.mask;
  wide_ = attention.qkv.dtype() == DType::kFloat64;
  if (wide_) {
    wide_values_.Load(attention, b, h);
  } else {
    narrow_values_.Load(attention, b, h);
  }
  rows_ = attention.T;
  registers_ = mask.registers;
  length_ = mask.lengths == nullptr ? rows_ : mask.lengths[b];
  documents_ = mask.documents == nullptr ? nullptr : mask.documents + b * rows_;
  causal_ = mask.causal;
  head_size_ = attention.D;
  sink_token_ = !attention.sink_key.null();
  scale_ = 1 / std::sqrt(static_cast<double>(attention.D));
  sink_logit_ = LogitOf(attention, h);
  rectified_ = attention.variant.weights == AttentionWeights::kRelu;
  clip_ = attention.variant.clip;
  scores_.resize(static_cast<size_t>(rows_ + 1));
  probabilities_.resize(static_cast<size_t>(rows_ + 1));
}

// Document numbers never fall within a row, so what is seen has no gaps.
AttentionProbabilities::Range AttentionProbabilities::VisibleTokens(int64_t i) const {
  const int64_t query = registers_ + i;
  if (query >= length_) return {query, query};
  Range range{registers_, causal_ ? query + 1 : length_};
  if (documents_ == nullptr) return range;
  const auto [begin, end] =
      std::equal_range(documents_ + range.begin, documents_ + range.end, documents_[query]);
  return {begin - documents_, end - documents_};
}

// Of registers, tokens and the sink token, side by side.
void AttentionProbabilities::Score(int64_t query, Range tokens) {
  const auto score = [&](const auto& operands) {
    operands.Score(query, {0, registers_}, head_size_, scores_.data());
    operands.Score(query, tokens, head_size_, scores_.data() + registers_);
    if (!sink_token_) return;
    scores_[static_cast<size_t>(registers_ + tokens.size())] = InnerProduct(
        operands.queries.Row(query), operands.sink_key.Row(0), operands.queries.stride);
  };
  if (wide_) {
    score(wide_values_);
  } else {
    score(narrow_values_);
  }
  const int64_t keys = registers_ + tokens.size() + (sink_token_ ? 1 : 0);
  for (int64_t j = 0; j < keys; ++j) scores_[static_cast<size_t>(j)] *= scale_;
}

// From scores to p' in place of them; gives -Σ p' ln p'.
double AttentionProbabilities::Softmax(size_t keys, double& on_sink_logit) {
  double largest = sink_logit_;
  for (size_t j = 0; j < keys; ++j) largest = std::max(largest, scores_[j]);
  double sum = std::exp(sink_logit_ - largest), weighted = 0;
  on_sink_logit = sum;
  for (size_t j = 0; j < keys; ++j) {
    const double difference = scores_[j] - largest, exponential = std::exp(difference);
    probabilities_[j] = exponential;
    sum += exponential;
    if (exponential > 0) weighted += exponential * difference;
  }
  on_sink_logit /= sum;
  const double mass = 1 - on_sink_logit;  // of the keys
  for (size_t j = 0; j < keys; ++j) probabilities_[j] /= sum;
  // ln p = difference - ln sum
  if (!clip_.enabled()) return mass * std::log(sum) - weighted / sum;
  const double gamma = clip_.gamma, zeta = clip_.zeta;
  double entropy = 0;
  for (size_t j = 0; j < keys; ++j) {
    double& p = probabilities_[j];
    p = std::clamp((zeta - gamma) * p + gamma, 0.0, 1.0);
    if (p > 0) entropy -= p * std::log(p);
  }
  return entropy;
}

// The same without a softmax: max(score, 0) / keys.
double AttentionProbabilities::Rectify(size_t keys) {
  double entropy = 0;
  for (size_t j = 0; j < keys; ++j) {
    const double p = std::max(scores_[j], 0.0) / static_cast<double>(keys);
    probabilities_[j] = p;
    if (p > 0) entropy -= p * std::log(p);
  }
  return entropy;
}

AttentionProbabilities::QueryRow AttentionProbabilities::Row(int64_t i) {
  const int64_t query = registers_ + i;
  const Range tokens = VisibleTokens(i);
  QueryRow row;
  row.first = tokens.begin - registers_;
  if (tokens.size() == 0) return row;
  Score(query, tokens);
  const auto registers = static_cast<size_t>(registers_),
             count = static_cast<size_t>(tokens.size());
  const size_t keys = registers + count + (sink_token_ ? 1 : 0);
  row.entropy = rectified_ ? Rectify(keys) : Softmax(keys, row.on_sink_logit);
  row.scores = std::span<const double>(scores_).subspan(registers, count);
  row.probabilities = std::span<const double>(probabilities_).subspan(registers, count);
  for (size_t r = 0; r < registers; ++r) row.on_registers += probabilities_[r];
  if (sink_token_) row.on_sink_token = probabilities_[registers + count];
  return row;
}

}  // namespace sluice
