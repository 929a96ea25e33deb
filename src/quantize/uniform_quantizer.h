// Uniform quantization, simulated: a value becomes the nearest of 2^b equally spaced ones.
// Everything stays fp32. The quantizers of Bondarenko et al. (arXiv 2306.12929);
// docs/quantization.md.
//
//   const UniformQuantizer quantizer = UniformQuantizer::Asymmetric({-1, 3}, 8);
//   quantizer.Apply(x);                     x = scale · (Code(x) - zero_point)
#pragma once

#include <cstdint>
#include <span>

namespace sluice {

struct ValueRange {
  float low = 0, high = 0;
};

constexpr int kFewestBits = 2, kMostBits = 16;

class UniformQuantizer {
 public:
  UniformQuantizer() = default;  // of a range of nothing: everything becomes 0

  // lo = min(low, 0), hi = max(high, 1e-8); scale = max((hi - lo) / (2^b - 1), 1e-8), zero point =
  // round(-lo / unclamped scale): 0 is represented exactly.
  static UniformQuantizer Asymmetric(const ValueRange& range, int bits);
  // Zero point 0. Signed, codes -2^(b-1) … 2^(b-1) - 1, scale = max(|lo|, hi) / (2^(b-1) - 1);
  // where the range has nothing below 0 unsigned, codes 0 … 2^b - 1, scale = hi / (2^b - 1).
  static UniformQuantizer Symmetric(const ValueRange& range, int bits);

  float scale() const { return scale_; }
  int zero_point() const { return zero_point_; }
  int lowest_code() const { return static_cast<int>(lowest_) + zero_point_; }
  int highest_code() const { return static_cast<int>(highest_) + zero_point_; }
  int codes() const { return highest_code() - lowest_code() + 1; }  // how many
  int Code(float x) const { return static_cast<int>(Steps(x)) + zero_point_; }
  float Quantize(float x) const { return scale_ * Steps(x); }
  void Apply(std::span<float> values) const {
    for (float& x : values) x = Quantize(x);
  }

 private:
  // Steps from zero: round half to even of x / scale, within the codes. Clamping first does not
  // change what rounding gives, and below 2^22 adding 1.5 · 2^23 is that rounding. Not a number
  // stays none.
  float Steps(float x) const {
    constexpr float kRounder = 12582912.0f;
    float steps = x / scale_;
    steps = steps < lowest_ ? lowest_ : steps;
    steps = steps > highest_ ? highest_ : steps;
    return (steps + kRounder) - kRounder;
  }

  float scale_ = 1e-8f;
  float lowest_ = 0, highest_ = 0;  // codes less the zero point
  int zero_point_ = 0;
};

}  // namespace sluice
