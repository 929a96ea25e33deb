// Projections: y = x · weightᵀ + bias. weight (out_features, in_features).
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"
#include "runtime/arena.h"

namespace sluice::ops {

// A weight and its bias, with the packed copies that the GEMM library likes. Made when the model is
// built.
class Linear {
 public:
  struct Dims {
    int64_t rows;  // that a call usually has
    int64_t in_features, out_features;
  };
  // `train`: backward will be called.
  void Plan(ExecutionContext& context, Arena& arena, absl::string_view name, DType dtype,
            const Dims& dims, bool train);

  // Where the parameters lie; gradients are null when there is no backward. bias may be null.
  struct Parameters {
    TensorView weight, bias;                    // working dtype
    TensorView weight_gradient, bias_gradient;  // accumulator dtype; ADDED to
  };
  // After the arena has been allocated.
  void Bind(const Parameters& parameters);
  // After every change of the weights' values.
  void WeightsChanged();

  // y (N, out): overwritten.
  absl::Status Forward(ExecutionContext& context, const TensorView& x, const TensorView& y);
  // logits (N, out) in the accumulator's dtype: overwritten.
  absl::Status ForwardLogits(ExecutionContext& context, const TensorView& x,
                             const TensorView& logits);
  // dx (N, in): overwritten, or added to when `accumulate`.
  absl::Status BackwardInput(ExecutionContext& context, const TensorView& dy, const TensorView& dx,
                             bool accumulate);
  // Adds to the gradients of weight and bias.
  absl::Status BackwardWeight(ExecutionContext& context, const TensorView& x, const TensorView& dy);

 private:
  int64_t in_features_ = 0, out_features_ = 0;
  Parameters parameters_;
  PackedWeight packed_;
  const TensorView* packed_forward_ = nullptr;
  const TensorView* packed_backward_ = nullptr;
};

}  // namespace sluice::ops
