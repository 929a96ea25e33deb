// Projections side by side, each with its own columns: block b of y is block b of x times a weight
// of its own, y_b = x_b · weight_bᵀ + bias_b. What a head's gate makes of the head's slice.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "ops/execution_context.h"
#include "ops/linear.h"

namespace sluice::ops {

class BlockLinear {
 public:
  struct Dims {
    int64_t rows;  // that a call usually has
    int64_t blocks;
    int64_t in_features, out_features;  // of a block
  };
  // `train`: backward will be called.
  void Plan(ExecutionContext& context, Arena& arena, absl::string_view name, DType dtype,
            const Dims& dims, bool train);
  // After the arena has been allocated. weight (blocks · out, in), the blocks' one below another;
  // bias (blocks · out) may be null.
  void Bind(const Linear::Parameters& parameters);
  // After every change of the weight's values.
  void WeightsChanged();

  // x (N, blocks · in), may be a column range → y (N, blocks · out), overwritten.
  absl::Status Forward(ExecutionContext& context, const TensorView& x, const TensorView& y);
  // The same in the accumulator's dtype.
  absl::Status ForwardLogits(ExecutionContext& context, const TensorView& x,
                             const TensorView& logits);
  // dy (N, blocks · out). Adds to dx (N, blocks · in) and to the gradients of weight and bias.
  absl::Status Backward(ExecutionContext& context, const TensorView& x, const TensorView& dy,
                        const TensorView& dx);

  // Of the context's workspace, that Backward uses.
  int64_t backward_workspace_bytes() const { return blocks_.front().backward_workspace_bytes(); }

 private:
  int64_t in_features_ = 0, out_features_ = 0;  // of a block
  std::vector<Linear> blocks_;
};

}  // namespace sluice::ops
