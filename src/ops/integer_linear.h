// A linear layer in 8-bit integers (kernels/api/integer_linear.h), for inference on CPUs.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "ops/execution_context.h"
#include "runtime/tensor.h"

namespace sluice::ops {

class IntegerLinear {
 public:
  // Sums of more products than this may not fit in 32 bits.
  static constexpr int64_t kMaxInFeatures = 65536;

  // What the weight became: a row's value is scales[m] · codes[m · in_features + k].
  struct Weight {
    int64_t in_features;
    std::vector<int8_t> codes;  // (M, K)
    std::vector<float> scales;  // (M)
  };
  // How x becomes codes: clamp(round(x / scale) + zero_point, 0, 255).
  struct Input {
    float scale;
    int32_t zero_point;
  };
  IntegerLinear(const Weight& weight, const Input& input);

  // x (N, K), bias (M) or null → y (N, M), overwritten; all fp32.
  absl::Status Forward(ExecutionContext& context, const TensorView& x, const TensorView& bias,
                       const TensorView& y) const;

 private:
  int64_t in_features_, out_features_;
  Input input_;
  std::vector<int8_t> weight_;  // (M, copies · K), as the kernel wants it
  std::vector<int32_t> offset_;
  std::vector<float> scales_;
};

}  // namespace sluice::ops
