#include "telemetry/gate_statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/check.h"
#include "core/status.h"

namespace sluice {
namespace {

// What is summed for a cell. A gate g becomes the whole number v = round(g · 2^48), kept as
// v = high · 2^24 + low: both sums have room for 2^39 gates.
enum Sum {
  kCount,
  kValueHigh,
  kValueLow,
  kSquareHigh,
  kSquareLow,
  kBelow,
  kAbove,
  kHistogram,  // and the bins
  kSums = kHistogram + kGateHistogramBins
};
constexpr double kUnits = 0x1p48;
constexpr int kHalfBits = 24;
constexpr int64_t kHalfMask = (int64_t{1} << kHalfBits) - 1;

// No value yet: below the encoding of every value.
constexpr int64_t kNoExtreme = std::numeric_limits<int64_t>::min();

int64_t ToUnits(double value) { return static_cast<int64_t>(value * kUnits + 0.5); }

// A sum of whole units as a number.
long double FromUnits(int64_t high, int64_t low) {
  return (static_cast<long double>(high) * 0x1p24L + static_cast<long double>(low)) * 0x1p-48L;
}

void AddGate(float gate, int64_t* sums, int64_t* extremes) {
  const double value = gate;
  const int64_t units = ToUnits(value), square = ToUnits(value * value);
  sums[kCount] += 1;
  sums[kValueHigh] += units >> kHalfBits;
  sums[kValueLow] += units & kHalfMask;
  sums[kSquareHigh] += square >> kHalfBits;
  sums[kSquareLow] += square & kHalfMask;
  sums[kBelow] += value < kGateClosedBelow;
  sums[kAbove] += value > kGateOpenAbove;
  sums[kHistogram +
       std::min(static_cast<int>(gate * kGateHistogramBins), kGateHistogramBins - 1)] += 1;
  // Bits of floats that are not negative are ordered as the floats are.
  const int64_t bits = std::bit_cast<int32_t>(gate + 0.0f);  // -0 becomes 0
  extremes[0] = std::max(extremes[0], bits);
  extremes[1] = std::max(extremes[1], -bits);
}

}  // namespace

GateAccumulator::GateAccumulator(int64_t layers, int64_t heads,
                                 std::vector<std::string> token_classes)
    : layers_(layers), heads_(heads), token_classes_(std::move(token_classes)) {
  CHECK_GE(classes(), 1);
  CHECK_LT(classes(), kUncountedToken);
  Reset();
}

void GateAccumulator::Reset() {
  sums_.assign(cell_count() * kSums + 2, 0);
  extremes_.assign(cell_count() * 2, kNoExtreme);
  merged_ = false;
}

void GateAccumulator::BeginBatch() {
  CHECK(!merged_);
  batch_sum_ = 0;
  batch_count_ = 0;
  ++sums_[sums_.size() - 1];
}

void GateAccumulator::Add(int64_t layer, const float* gates, int64_t row_stride,
                          int64_t gates_per_head, std::span<const uint8_t> token_class) {
  CHECK(!merged_);
  CHECK(layer >= 0 && layer < layers_) << layer;
  int64_t& rejected = sums_[sums_.size() - 2];
  for (size_t row = 0; row < token_class.size(); ++row) {
    if (token_class[row] == kUncountedToken) continue;
    CHECK_LT(token_class[row], classes());
    const float* values = gates + static_cast<int64_t>(row) * row_stride;
    for (int64_t i = 0; i < heads_ * gates_per_head; ++i) {
      const int64_t head = i / gates_per_head;
      const float gate = values[i];
      if (!(gate >= 0 && gate <= 1)) {  // NaN too
        ++rejected;
        continue;
      }
      const int64_t cell = (layer * heads_ + head) * classes() + token_class[row];
      AddGate(gate, &sums_[cell * kSums], &extremes_[cell * 2]);
      batch_sum_ += gate;
      ++batch_count_;
    }
  }
}

double GateAccumulator::BatchMean() const {
  return batch_count_ == 0 ? -1 : batch_sum_ / static_cast<double>(batch_count_);
}

absl::Status GateAccumulator::Merge(Communicator& communicator) {
  CHECK(!merged_);
  merged_ = true;
  RETURN_IF_ERROR(communicator.AllReduceSum(std::span<int64_t>(sums_)));
  return communicator.AllReduceMax(std::span<int64_t>(extremes_));
}

GateCell GateAccumulator::MakeCell(const int64_t* sums, const int64_t* extremes) const {
  GateCell cell;
  cell.count = sums[kCount];
  if (cell.count == 0) return cell;
  const auto n = static_cast<long double>(cell.count);
  const long double mean = FromUnits(sums[kValueHigh], sums[kValueLow]) / n;
  const long double mean_square = FromUnits(sums[kSquareHigh], sums[kSquareLow]) / n;
  cell.mean = static_cast<double>(mean);
  // Sums are exact to 2^-49 a gate, so what cancels here leaves the variance right to 2^-47.
  cell.variance = static_cast<double>(std::max(0.0L, mean_square - mean * mean));
  cell.maximum = std::bit_cast<float>(static_cast<int32_t>(extremes[0]));
  cell.minimum = std::bit_cast<float>(static_cast<int32_t>(-extremes[1]));
  cell.count_below = sums[kBelow];
  cell.count_above = sums[kAbove];
  std::copy_n(sums + kHistogram, kGateHistogramBins, cell.histogram.begin());
  return cell;
}

GateStatistics GateAccumulator::Statistics() const {
  GateStatistics statistics;
  statistics.rejected = sums_[sums_.size() - 2];
  statistics.batches = sums_[sums_.size() - 1];
  if (statistics.batches == 0) return {};
  statistics.layers = layers_;
  statistics.heads = heads_;
  statistics.token_classes = {"all"};
  statistics.token_classes.insert(statistics.token_classes.end(), token_classes_.begin(),
                                  token_classes_.end());
  for (int64_t head = 0; head < layers_ * heads_; ++head) {
    std::vector<int64_t> all(kSums, 0);
    int64_t all_extremes[2] = {kNoExtreme, kNoExtreme};
    const int64_t first = head * classes();
    for (int64_t cell = first; cell < first + classes(); ++cell) {
      for (int i = 0; i < kSums; ++i) all[i] += sums_[cell * kSums + i];
      for (int i = 0; i < 2; ++i) {
        all_extremes[i] = std::max(all_extremes[i], extremes_[cell * 2 + i]);
      }
    }
    statistics.cells.push_back(MakeCell(all.data(), all_extremes));
    for (int64_t cell = first; cell < first + classes(); ++cell) {
      statistics.cells.push_back(MakeCell(&sums_[cell * kSums], &extremes_[cell * 2]));
    }
  }
  return statistics;
}

}  // namespace sluice
