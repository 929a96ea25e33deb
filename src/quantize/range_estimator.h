// Which range a quantizer covers. Views are fp32, on the host.
#pragma once

#include "quantize/uniform_quantizer.h"
#include "runtime/tensor.h"

namespace sluice {

// The smallest and the largest value; not a number where any value is none.
ValueRange MinMaxRange(const TensorView& values);

// The (100 - percentile)-th and the percentile-th percentile of all values, with linear
// interpolation between neighbours: numpy.percentile. 50 < percentile <= 100.
ValueRange PercentileRange(const TensorView& values, double percentile);

// The symmetric range with the least squared error: of the 100 candidates c · R / 100 with R =
// max |x| + 0.5, the first that minimizes Σ (x - x̂)². [0, t] where no value is negative, else
// [-t, t]. Meant for weights.
ValueRange LeastSquaresRange(const TensorView& values, int bits);

// Follows the ranges of batches: the first as it is, then 0.9 · range + 0.1 · batch.
class RunningRange {
 public:
  static constexpr float kMomentum = 0.9f;

  void Update(const ValueRange& batch);
  const ValueRange& range() const { return range_; }
  bool known() const { return known_; }

 private:
  ValueRange range_;
  bool known_ = false;
};

}  // namespace sluice
