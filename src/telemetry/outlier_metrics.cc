#include "telemetry/outlier_metrics.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/check.h"
#include "telemetry/stream_tensors.h"

namespace sluice {
namespace {

constexpr double kKurtosisEpsilon = 1e-6;  // added to s^4

double Mean(double sum, double count) { return count > 0 ? sum / count : 0; }

double Largest(double a, double b) { return std::isnan(b) || b > a ? b : a; }

}  // namespace

// With d = a row's mean - the mean of all: Σ (x - mean)^4 = m4 + 4 d m3 + 6 d² m2 + n d⁴ (and of a
// row's first power nothing remains).
RowMomentSums MomentsOfRows(const RowMomentSums* rows, int64_t count, int64_t length) {
  RowMomentSums all;
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

double Kurtosis(const RowMomentSums& moments, int64_t length) {
  const double n = static_cast<double>(length), variance = moments.second / (n - 1);
  return moments.fourth / n / (variance * variance + kKurtosisEpsilon);
}

int64_t DefaultKurtosisBatches(bool pre_norm, int64_t batch_size) {
  const int64_t sequences = pre_norm ? 101 * 4 : 257 * 32;
  return (sequences + batch_size - 1) / batch_size;
}

OutlierMetrics::OutlierMetrics(const OutlierOptions& options) : options_(options) {
  CHECK_GT(options.row_length, 0);
  sums_.resize(StreamTensorCount(options.layers) * (kSums + options.hidden_size));
}

bool OutlierMetrics::Wants(absl::string_view tensor) const { return IsStreamTensor(tensor); }

void OutlierMetrics::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  const int64_t slot = StreamTensorSlot(layer, tensor);
  if (slot < 0) return;
  if (slot == 0) ++passes_;  // what every pass begins with
  CHECK_EQ(view.dim(-1), options_.hidden_size);
  CHECK_EQ(view.rows() % options_.row_length, 0);
  Add(view, SumsOf(slot));
}

// Every sum has one order, whatever the threads: rows and channels are worked on apart, and rows
// are added in theirs.
void OutlierMetrics::Add(const TensorView& view, double* sums) {
  const int64_t rows = view.rows();
  tokens_.resize(rows);
  squares_.resize(options_.hidden_size);
  CHECK_OK(ops::RunOnHost(
      {.x = view, .moments = tokens_.data(), .squares = squares_.data(), .group = rows}));
  for (int64_t c = 0; c < options_.hidden_size; ++c) sums[kSums + c] += squares_[c];
  AddRows(rows, sums);
}

void OutlierMetrics::AddRows(int64_t rows, double* sums) const {
  const int64_t C = options_.hidden_size, length = options_.row_length;
  const int64_t batch = options_.rank + (passes_ - 1) * options_.world_size;
  const bool kurtosis = options_.kurtosis_batches == 0 || batch < options_.kurtosis_batches;
  for (int64_t row = 0; row < rows; row += length) {
    const RowMomentSums sequence = MomentsOfRows(tokens_.data() + row, length, C);
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

double TopChannelShare(std::span<const double> squares) {
  double largest = 0, all = 0;
  for (const double square : squares) {
    largest = std::max(largest, square);
    all += square;
  }
  return all == 0 ? 0 : largest / all;
}

std::vector<TensorOutliers> OutlierMetrics::tensors() const {
  std::vector<TensorOutliers> tensors;
  for (const StreamTensor& tensor : StreamTensors(options_.layers)) {
    const double* sums = SumsOf(StreamTensorSlot(tensor.layer, tensor.name));
    if (sums[kSequences] == 0) continue;
    const std::span<const double> squares(sums + kSums, options_.hidden_size);
    tensors.push_back({.layer = tensor.layer,
                       .tensor = std::string(tensor.name),
                       .sequence = {Mean(sums[kSequenceNorm], sums[kSequences]),
                                    Mean(sums[kSequenceKurtosis], sums[kKurtosisSequences])},
                       .token = {Mean(sums[kTokenNorm], sums[kTokens]),
                                 Mean(sums[kTokenKurtosis], sums[kKurtosisTokens])},
                       .top_channel_share = TopChannelShare(squares)});
  }
  return tensors;
}

}  // namespace sluice
