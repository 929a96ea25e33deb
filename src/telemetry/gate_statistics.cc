#include "telemetry/gate_statistics.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <utility>

#include "core/check.h"
#include "core/status.h"

namespace sluice {
namespace {

// No value yet: below the encoding of every value.
constexpr int64_t kNoExtreme = std::numeric_limits<int64_t>::min();

// A sum of whole units as a number.
long double FromUnits(int64_t high, int64_t low) {
  static_assert(kGateUnits == 0x1p48 && kGateHalfBits == 24);
  return (static_cast<long double>(high) * 0x1p24L + static_cast<long double>(low)) * 0x1p-48L;
}

std::vector<GateGroup> EachClass(std::vector<std::string> token_classes) {
  std::vector<GateGroup> groups;
  for (std::string& name : token_classes) {
    groups.push_back({std::move(name), {static_cast<uint8_t>(groups.size())}});
  }
  return groups;
}

std::vector<GateGroup> WithAll(int64_t classes, std::vector<GateGroup> groups) {
  std::vector<uint8_t> all(static_cast<size_t>(classes));
  std::iota(all.begin(), all.end(), uint8_t{0});
  groups.insert(groups.begin(), {"all", std::move(all)});
  return groups;
}

}  // namespace

GateAccumulator::GateAccumulator(int64_t layers, int64_t heads,
                                 const std::vector<std::string>& token_classes)
    : GateAccumulator(layers, heads, std::ssize(token_classes), EachClass(token_classes)) {}

GateAccumulator::GateAccumulator(int64_t layers, int64_t heads, int64_t classes,
                                 std::vector<GateGroup> groups)
    : layers_(layers),
      heads_(heads),
      classes_(classes),
      groups_(WithAll(classes, std::move(groups))) {
  CHECK_GE(classes, 1);
  CHECK_LT(classes, kUncountedToken);
  static_assert(kGateBins == kGateHistogramBins);
  Reset();
}

void GateAccumulator::Reset() {
  sums_.assign(cell_count() * kGateSums + 2, 0);
  extremes_.assign(cell_count() * 2, kNoExtreme);
  merged_ = false;
}

void GateAccumulator::BeginBatch() {
  CHECK(!merged_);
  batch_ = {};
  ++sums_[sums_.size() - 1];
}

void GateAccumulator::Add(int64_t layer, const float* gates, int64_t row_stride,
                          int64_t gates_per_head, std::span<const uint8_t> token_class) {
  CHECK(!merged_);
  CHECK(layer >= 0 && layer < layers_) << layer;
  const int64_t first_cell = layer * heads_ * classes(), rejected = batch_[kTotalRejected];
  const absl::Status status = ops::AddGateSumsOnHost({.gate = gates,
                                                      .token_class = token_class.data(),
                                                      .sums = &sums_[first_cell * kGateSums],
                                                      .extremes = &extremes_[first_cell * 2],
                                                      .totals = batch_.data(),
                                                      .N = std::ssize(token_class),
                                                      .H = heads_,
                                                      .gates_per_head = gates_per_head,
                                                      .classes = classes(),
                                                      .row_stride = row_stride,
                                                      .below = kGateClosedBelow,
                                                      .above = kGateOpenAbove});
  CHECK(status.ok()) << status.message();
  sums_[sums_.size() - 2] += batch_[kTotalRejected] - rejected;
}

void GateAccumulator::AddSums(std::span<const int64_t> sums, std::span<const int64_t> extremes,
                              std::span<const int64_t> totals) {
  CHECK(!merged_);
  CHECK_EQ(std::ssize(sums), cell_count() * kGateSums);
  CHECK_EQ(extremes.size(), extremes_.size());
  CHECK_EQ(std::ssize(totals), kGateTotals);
  for (size_t i = 0; i < sums.size(); ++i) sums_[i] += sums[i];
  for (size_t i = 0; i < extremes.size(); ++i) extremes_[i] = std::max(extremes_[i], extremes[i]);
  sums_[sums_.size() - 2] += totals[kTotalRejected];
  std::ranges::copy(totals, batch_.begin());
}

void GateAccumulator::AddSums(const GateAccumulator& other) {
  CHECK(!merged_);
  CHECK_EQ(other.sums_.size(), sums_.size());
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
  for (size_t i = 0; i < extremes_.size(); ++i) {
    extremes_[i] = std::max(extremes_[i], other.extremes_[i]);
  }
}

double GateAccumulator::BatchMean() const {
  if (batch_[kTotalCount] == 0) return -1;
  return static_cast<double>(FromUnits(batch_[kTotalValueHigh], batch_[kTotalValueLow]) /
                             static_cast<long double>(batch_[kTotalCount]));
}

absl::Status GateAccumulator::Merge(Communicator& communicator) {
  CHECK(!merged_);
  merged_ = true;
  RETURN_IF_ERROR(communicator.AllReduceSum(std::span<int64_t>(sums_)));
  return communicator.AllReduceMax(std::span<int64_t>(extremes_));
}

GateCell GateAccumulator::MakeCell(int64_t head, const GateGroup& group) const {
  std::array<int64_t, kGateSums> sums{};
  int64_t largest = kNoExtreme, smallest = kNoExtreme;
  for (const uint8_t token_class : group.classes) {
    const int64_t at = head * classes() + token_class;
    for (int64_t i = 0; i < kGateSums; ++i) sums[i] += sums_[at * kGateSums + i];
    largest = std::max(largest, extremes_[at * 2]);
    smallest = std::max(smallest, extremes_[at * 2 + 1]);
  }
  GateCell cell;
  cell.count = sums[kGateCount];
  if (cell.count == 0) return cell;
  const auto n = static_cast<long double>(cell.count);
  const long double mean = FromUnits(sums[kGateValueHigh], sums[kGateValueLow]) / n;
  const long double mean_square = FromUnits(sums[kGateSquareHigh], sums[kGateSquareLow]) / n;
  cell.mean = static_cast<double>(mean);
  // Sums are exact to 2^-49 a gate, so what cancels here leaves the variance right to 2^-47.
  cell.variance = static_cast<double>(std::max(0.0L, mean_square - mean * mean));
  cell.entropy = static_cast<double>(FromUnits(sums[kGateEntropyHigh], sums[kGateEntropyLow]) / n);
  cell.maximum = std::bit_cast<float>(static_cast<int32_t>(largest));
  cell.minimum = std::bit_cast<float>(static_cast<int32_t>(-smallest));
  cell.count_below = sums[kGatesBelow];
  cell.count_above = sums[kGatesAbove];
  std::copy_n(sums.begin() + kGateHistogram, kGateHistogramBins, cell.histogram.begin());
  return cell;
}

GateStatistics GateAccumulator::Statistics() const {
  GateStatistics statistics;
  statistics.rejected = sums_[sums_.size() - 2];
  statistics.batches = sums_[sums_.size() - 1];
  if (statistics.batches == 0) return {};
  statistics.layers = layers_;
  statistics.heads = heads_;
  for (const GateGroup& group : groups_) statistics.token_classes.push_back(group.name);
  for (int64_t head = 0; head < layers_ * heads_; ++head) {
    for (const GateGroup& group : groups_) statistics.cells.push_back(MakeCell(head, group));
  }
  return statistics;
}

std::vector<int64_t> GateAccumulator::State() const {
  std::vector<int64_t> state = sums_;
  state.insert(state.end(), extremes_.begin(), extremes_.end());
  return state;
}

bool GateAccumulator::Restore(std::span<const int64_t> state) {
  if (state.size() != sums_.size() + extremes_.size()) return false;
  std::ranges::copy(state.first(sums_.size()), sums_.begin());
  std::ranges::copy(state.subspan(sums_.size()), extremes_.begin());
  return true;
}

}  // namespace sluice
