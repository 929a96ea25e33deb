// How much of a tensor quantization took away.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include "quantize/uniform_quantizer.h"
#include "runtime/tensor.h"

namespace sluice {

struct QuantizationError {
  int layer = -1;  // of activations; weights have it in their names
  std::string tensor;
  double signal = 0, noise = 0;  // Σ x² and Σ (x - x̂)², over all that was quantized
  float scale = 0;               // of the (first) quantizer

  // Signal over noise in dB; infinite where nothing was lost.
  double SqnrDecibels() const {
    return noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal / noise);
  }
};

// Quantizes `values` (fp32, on the host) in place;
void QuantizeInPlace(const UniformQuantizer& quantizer, const TensorView& values);
// … and adds to signal and noise.
void QuantizeInPlace(const UniformQuantizer& quantizer, const TensorView& values,
                     QuantizationError& error);

}  // namespace sluice
