#include "quantize/range_estimator.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/parallel.h"

namespace sluice {
namespace {

std::span<const float> RowOf(const TensorView& values, int64_t row) {
  return {values.as<float>() + row * values.row_stride(), static_cast<size_t>(values.dim(-1))};
}

// The q-quantile, 0 <= q <= 1; reorders.
float Quantile(std::vector<float>& values, double q) {
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<int64_t>(place);
  std::nth_element(values.begin(), below, values.end());
  const double fraction = place - std::floor(place);
  if (fraction == 0) return *below;
  const double above = *std::min_element(below + 1, values.end());
  return static_cast<float>(*below + fraction * (above - *below));
}

double SquaredError(const TensorView& values, const UniformQuantizer& quantizer) {
  double all = 0;
  for (int64_t r = 0; r < values.rows(); ++r) {
    constexpr int64_t kLanes = 8;
    double sum[kLanes] = {};
    const std::span<const float> row = RowOf(values, r);
    const int64_t whole = std::ssize(row) / kLanes * kLanes;
    const auto add = [&](int64_t lane, float x) {
      const double error = static_cast<double>(x) - static_cast<double>(quantizer.Quantize(x));
      sum[lane] += error * error;
    };
    for (int64_t c = 0; c < whole; c += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) add(lane, row[c + lane]);
    }
    for (int64_t c = whole; c < std::ssize(row); ++c) add(c - whole, row[c]);
    for (const double lane : sum) all += lane;
  }
  return all;
}

}  // namespace

ValueRange MinMaxRange(const TensorView& values) {
  CHECK_GT(values.elements(), 0);
  const float first = values.as<float>()[0];
  ValueRange range{first, first};
  for (int64_t r = 0; r < values.rows(); ++r) {
    for (const float x : RowOf(values, r)) {
      if (std::isnan(x)) return {x, x};
      range.low = std::min(range.low, x);
      range.high = std::max(range.high, x);
    }
  }
  return range;
}

ValueRange PercentileRange(const TensorView& values, double percentile) {
  CHECK_GT(values.elements(), 0);
  std::vector<float> all;
  all.reserve(values.elements());
  for (int64_t r = 0; r < values.rows(); ++r) {
    const std::span<const float> row = RowOf(values, r);
    all.insert(all.end(), row.begin(), row.end());
  }
  const auto none = std::find_if(all.begin(), all.end(), [](float x) { return std::isnan(x); });
  if (none != all.end()) return {*none, *none};
  const float low = Quantile(all, (100 - percentile) / 100);
  return {low, Quantile(all, percentile / 100)};
}

ValueRange LeastSquaresRange(const TensorView& values, int bits) {
  constexpr int kCandidates = 100;
  constexpr float kMargin = 0.5f;
  const ValueRange all = MinMaxRange(values);
  const float largest = std::max(std::abs(all.low), all.high) + kMargin;
  const auto candidate = [&](int64_t c) {
    const float limit = static_cast<float>(c + 1) * largest / static_cast<float>(kCandidates);
    return ValueRange{all.low >= 0 ? 0 : -limit, limit};
  };
  double errors[kCandidates];
  ParallelFor(kCandidates, /*grain=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      errors[c] = SquaredError(values, UniformQuantizer::Symmetric(candidate(c), bits));
    }
  });
  return candidate(std::min_element(errors, errors + kCandidates) - errors);
}

void RunningRange::Update(const ValueRange& batch) {
  const auto follow = [](float old, float now) { return (1 - kMomentum) * now + kMomentum * old; };
  range_ =
      known_ ? ValueRange{follow(range_.low, batch.low), follow(range_.high, batch.high)} : batch;
  known_ = true;
}

}  // namespace sluice
