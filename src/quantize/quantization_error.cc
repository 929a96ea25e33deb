#include "quantize/quantization_error.h"

#include <vector>

#include "core/parallel.h"

namespace sluice {
namespace {

struct Powers {
  double signal = 0, noise = 0;
};

Powers QuantizeRow(const UniformQuantizer& quantizer, float* row, int64_t columns) {
  constexpr int64_t kLanes = 8;
  double signal[kLanes] = {}, noise[kLanes] = {};
  const auto one = [&](int64_t lane, float& x) {
    const float quantized = quantizer.Quantize(x);
    const double value = static_cast<double>(x), lost = value - static_cast<double>(quantized);
    signal[lane] += value * value;
    noise[lane] += lost * lost;
    x = quantized;
  };
  const int64_t whole = columns / kLanes * kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) one(lane, row[c + lane]);
  }
  for (int64_t c = whole; c < columns; ++c) one(c - whole, row[c]);
  Powers powers;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    powers.signal += signal[lane];
    powers.noise += noise[lane];
  }
  return powers;
}

}  // namespace

void QuantizeInPlace(const UniformQuantizer& quantizer, const TensorView& values) {
  ParallelFor(values.rows(), /*grain=*/16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* x = values.as<float>() + row * values.row_stride();
      quantizer.Apply({x, static_cast<size_t>(values.dim(-1))});
    }
  });
}

// Rows are summed in their order, whatever the threads.
void QuantizeInPlace(const UniformQuantizer& quantizer, const TensorView& values,
                     QuantizationError& error) {
  std::vector<Powers> rows(values.rows());
  ParallelFor(values.rows(), /*grain=*/16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      rows[row] =
          QuantizeRow(quantizer, values.as<float>() + row * values.row_stride(), values.dim(-1));
    }
  });
  for (const Powers& row : rows) {
    error.signal += row.signal;
    error.noise += row.noise;
  }
  error.scale = quantizer.scale();
}

}  // namespace sluice
