// Inverted dropout whose mask is never stored: it is a function of (key, sample, position),
// recomputed in backward.
//
// Which elements are kept (the same on every device and in every kernel that drops out):
//   a sample is a matrix of rows × columns (hidden states: T × C; attention: (H·T) × T, row h·T +
//   i, column j); columns are taken in blocks of 128; block k of row r draws from Philox counters
//     position = (r · ceil(columns / 128) + k) · 16 + lane,  sample = sample_index (PhiloxCounter)
//   lane = column mod 16, slot = (column mod 128) / 16 (0…7): slot s uses word s / 2, its low 16
//   bits when s is even, its high 16 bits when s is odd. The element is kept when those 16 bits are
//   >= threshold.
// So 16 neighbouring columns are 16 lanes of one vector, and one Philox call serves eight slots.
#pragma once

#include <cmath>
#include <cstdint>

#include "absl/status/status.h"
#include "core/philox.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

// One use of dropout in one forward pass. probability 0 switches it off (evaluation); then nothing
// else is read.
struct Dropout {
  float probability = 0;  // of dropping; in [0, 1)
  PhiloxKey key;  // MakePhiloxKey(seed, kDropout, instance): each use in a model its own instance
  uint32_t padding = 0;  // nothing reads it; so the bytes of two equal launches are equal
  const int64_t* sample_index = nullptr;  // (B): global, over all epochs and ranks
  int64_t rows_per_sample = 0;            // hidden states: T

  bool enabled() const { return probability > 0; }
  // 16 random bits below this are dropped.
  uint32_t threshold() const { return static_cast<uint32_t>(std::lround(probability * 65536.0f)); }
  // What kept values are multiplied by: 1 / the exact probability of being kept.
  float scale() const { return 65536.0f / static_cast<float>(65536u - threshold()); }
};

// Whether element (row, column) of sample `sample_index` is kept, and times what (0 or scale()).
// The definition above, for reference kernels and tests.
inline float DropoutFactor(const Dropout& dropout, int64_t sample_index, int64_t row,
                           int64_t column, int64_t columns) {
  if (!dropout.enabled()) return 1;
  const int64_t block = row * ((columns + 127) / 128) + column / 128;
  const auto words =
      Philox(dropout.key, PhiloxCounter(static_cast<uint64_t>(block * 16 + column % 16),
                                        static_cast<uint64_t>(sample_index)));
  const int64_t slot = column % 128 / 16;
  const uint32_t bits = slot % 2 == 0 ? words[slot / 2] & 0xffffu : words[slot / 2] >> 16;
  return bits >= dropout.threshold() ? dropout.scale() : 0;
}

// y = x · mask · scale over hidden states. Its own backward: call it on dy with the same Dropout.
template <typename T>
struct DropoutArgs {
  const T* x;  // (N, C), N = B · rows_per_sample
  T* y;        // (N, C); may alias x; overwritten
  int64_t N, C;
  Dropout dropout;
};

namespace reference {
void DropoutForward(const DropoutArgs<double>& args);
}
namespace cpu {
template <typename T>  // float, bf16
absl::Status DropoutForward(const DropoutArgs<T>& args);
}
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status DropoutForward(const DropoutArgs<T>& args, Stream stream);
}  // namespace cuda

}  // namespace sluice
