#include "telemetry/outlier_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "core/bf16.h"
#include "core/check.h"
#include "core/parallel.h"

namespace sluice {
namespace {

constexpr double kKurtosisEpsilon = 1e-6;  // added to s^4
constexpr int64_t kLanes = 8;              // independent sums, so that a row can be vectorized

constexpr std::array<absl::string_view, 2> kEmbeddingTensors = {observed::kEmbeddingSum,
                                                                observed::kEmbeddingNorm};
constexpr std::array<absl::string_view, 6> kLayerTensors = {
    observed::kAttentionOutput,   observed::kAttentionSum,   observed::kAttentionNorm,
    observed::kFeedForwardOutput, observed::kFeedForwardSum, observed::kFeedForwardNorm};

// Which of the slots, or -1.
int64_t SlotOf(int layer, absl::string_view tensor) {
  const auto place = [tensor](const auto& names) -> int64_t {
    const auto found = std::find(names.begin(), names.end(), tensor);
    return found == names.end() ? -1 : found - names.begin();
  };
  if (layer < 0) return place(kEmbeddingTensors);
  const int64_t within = place(kLayerTensors);
  return within < 0 ? -1
                    : std::ssize(kEmbeddingTensors) + layer * std::ssize(kLayerTensors) + within;
}

double Mean(double sum, double count) { return count > 0 ? sum / count : 0; }

double Largest(double a, double b) { return std::isnan(b) || b > a ? b : a; }

}  // namespace

template <typename T>
RowMoments MomentsOfRow(const T* row, int64_t length) {
  double sum[kLanes] = {}, largest[kLanes] = {}, second[kLanes] = {}, third[kLanes] = {},
         fourth[kLanes] = {};
  const int64_t whole = length / kLanes * kLanes;
  const auto look = [&](int64_t lane, T value) {
    const double x = static_cast<double>(value), size = std::abs(x);
    sum[lane] += x;
    largest[lane] = size > largest[lane] ? size : largest[lane];
  };
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) look(lane, row[c + lane]);
  }
  for (int64_t c = whole; c < length; ++c) look(c - whole, row[c]);
  RowMoments moments;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    moments.mean += sum[lane] / static_cast<double>(length);
    moments.largest = std::max(moments.largest, largest[lane]);
  }
  // A value that is none hides from a maximum, but not from a sum.
  if (std::isnan(moments.mean)) moments.largest = moments.mean;
  const auto deviate = [&](int64_t lane, T value) {
    const double d = static_cast<double>(value) - moments.mean, square = d * d;
    second[lane] += square;
    third[lane] += square * d;
    fourth[lane] += square * square;
  };
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) deviate(lane, row[c + lane]);
  }
  for (int64_t c = whole; c < length; ++c) deviate(c - whole, row[c]);
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    moments.second += second[lane];
    moments.third += third[lane];
    moments.fourth += fourth[lane];
  }
  return moments;
}
template RowMoments MomentsOfRow(const float*, int64_t);
template RowMoments MomentsOfRow(const bf16*, int64_t);
template RowMoments MomentsOfRow(const double*, int64_t);

// With d = a row's mean - the mean of all: Σ (x - mean)^4 = m4 + 4 d m3 + 6 d² m2 + n d⁴ (and of a
// row's first power nothing remains).
RowMoments MomentsOfRows(const RowMoments* rows, int64_t count, int64_t length) {
  RowMoments all;
  const double n = static_cast<double>(length);
  for (int64_t r = 0; r < count; ++r) {
    all.mean += rows[r].mean / static_cast<double>(count);
    all.largest = Largest(all.largest, rows[r].largest);
  }
  for (int64_t r = 0; r < count; ++r) {
    const double d = rows[r].mean - all.mean, square = d * d;
    all.second += rows[r].second + n * square;
    all.third += rows[r].third + 3 * d * rows[r].second + n * square * d;
    all.fourth +=
        rows[r].fourth + 4 * d * rows[r].third + 6 * square * rows[r].second + n * square * square;
  }
  return all;
}

double Kurtosis(const RowMoments& moments, int64_t length) {
  const double n = static_cast<double>(length), variance = moments.second / (n - 1);
  return moments.fourth / n / (variance * variance + kKurtosisEpsilon);
}

int64_t DefaultKurtosisBatches(bool pre_norm) { return pre_norm ? 101 : 257; }

OutlierMetrics::OutlierMetrics(const OutlierOptions& options) : options_(options) {
  CHECK_GT(options.row_length, 0);
  const int64_t slots = std::ssize(kEmbeddingTensors) + options.layers * std::ssize(kLayerTensors);
  sums_.resize(slots * (kSums + options.hidden_size));
}

bool OutlierMetrics::Wants(absl::string_view tensor) const {
  return SlotOf(-1, tensor) >= 0 || SlotOf(0, tensor) >= 0;
}

void OutlierMetrics::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  const int64_t slot = SlotOf(layer, tensor);
  if (slot < 0) return;
  if (slot == 0) ++passes_;  // what every pass begins with
  CHECK_EQ(view.dim(-1), options_.hidden_size);
  CHECK_EQ(view.rows() % options_.row_length, 0);
  double* sums = SumsOf(slot);
  switch (view.dtype()) {
    case DType::kFloat32:
      return Add<float>(view, sums);
    case DType::kBFloat16:
      return Add<bf16>(view, sums);
    case DType::kFloat64:
      return Add<double>(view, sums);
    default:
      CHECK(false) << "activations are of no such dtype";
  }
}

// Every sum has one order, whatever the threads: tokens and channels are worked on apart, and rows
// are added in theirs.
template <typename T>
void OutlierMetrics::Add(const TensorView& view, double* sums) {
  const T* values = view.as<T>();
  const int64_t rows = view.rows(), C = view.dim(-1), stride = view.row_stride();
  tokens_.resize(rows);
  ParallelFor(rows, /*grain=*/16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      tokens_[row] = MomentsOfRow(values + row * stride, C);
    }
  });
  double* squares = sums + kSums;
  ParallelFor(C, /*grain=*/64, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < rows; ++row) {
      const T* x = values + row * stride;
      for (int64_t c = begin; c < end; ++c) {
        const double value = static_cast<double>(x[c]);
        squares[c] += value * value;
      }
    }
  });
  AddRows(rows, sums);
}

void OutlierMetrics::AddRows(int64_t rows, double* sums) const {
  const int64_t C = options_.hidden_size, length = options_.row_length;
  const int64_t batch = options_.rank + (passes_ - 1) * options_.world_size;
  const bool kurtosis = options_.kurtosis_batches == 0 || batch < options_.kurtosis_batches;
  for (int64_t row = 0; row < rows; row += length) {
    const RowMoments sequence = MomentsOfRows(tokens_.data() + row, length, C);
    sums[kSequences] += 1;
    sums[kSequenceNorm] += sequence.largest;
    if (!kurtosis) continue;
    sums[kKurtosisSequences] += 1;
    sums[kSequenceKurtosis] += Kurtosis(sequence, length * C);
  }
  for (int64_t row = 0; row < rows; ++row) {
    sums[kTokens] += 1;
    sums[kTokenNorm] += tokens_[row].largest;
    if (!kurtosis) continue;
    sums[kKurtosisTokens] += 1;
    sums[kTokenKurtosis] += Kurtosis(tokens_[row], C);
  }
}

absl::Status OutlierMetrics::Merge(Communicator& communicator) {
  return communicator.AllReduceSum(std::span<double>(sums_));
}

std::vector<TensorOutliers> OutlierMetrics::tensors() const {
  std::vector<TensorOutliers> tensors;
  const auto add = [&](int layer, absl::string_view tensor) {
    const double* sums = SumsOf(SlotOf(layer, tensor));
    if (sums[kSequences] == 0) return;
    double largest = 0, all = 0;
    for (const double square : std::span(sums + kSums, options_.hidden_size)) {
      largest = std::max(largest, square);
      all += square;
    }
    tensors.push_back({.layer = layer,
                       .tensor = std::string(tensor),
                       .sequence = {Mean(sums[kSequenceNorm], sums[kSequences]),
                                    Mean(sums[kSequenceKurtosis], sums[kKurtosisSequences])},
                       .token = {Mean(sums[kTokenNorm], sums[kTokens]),
                                 Mean(sums[kTokenKurtosis], sums[kKurtosisTokens])},
                       .top_channel_share = Mean(largest, all)});
  };
  for (const absl::string_view tensor : kEmbeddingTensors) add(-1, tensor);
  for (int layer = 0; layer < options_.layers; ++layer) {
    for (const absl::string_view tensor : kLayerTensors) add(layer, tensor);
  }
  return tensors;
}

}  // namespace sluice
