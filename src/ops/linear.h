// Projections: y = x · weightᵀ + bias. weight (out_features, in_features).
#pragma once

#include "absl/status/status.h"
#include "core/check.h"
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
  // Adds to the gradients of weight and bias; of the weight alone where the bias's has been added
  // already.
  absl::Status BackwardWeight(ExecutionContext& context, const TensorView& x, const TensorView& dy,
                              bool with_bias = true);

  // What the kernels get, with its shapes checked: for ops that do more in the same call.
  template <typename T>
  LinearForwardArgs<T> ForwardArgs(const TensorView& x, const TensorView& y);
  template <typename T>
  LinearBackwardInputArgs<T> BackwardInputArgs(const TensorView& dy, const TensorView& dx,
                                               bool accumulate);
  const Parameters& parameters() const { return parameters_; }
  // Of the context's workspace, that BackwardWeight uses.
  int64_t backward_workspace_bytes() const { return backward_workspace_bytes_; }

 private:
  int64_t in_features_ = 0, out_features_ = 0;
  int64_t backward_workspace_bytes_ = 0;
  Parameters parameters_;
  PackedWeight packed_;
  const TensorView* packed_forward_ = nullptr;
  const TensorView* packed_backward_ = nullptr;
};

template <typename T>
LinearForwardArgs<T> Linear::ForwardArgs(const TensorView& x, const TensorView& y) {
  CHECK_EQ(x.dim(-1), in_features_);
  CHECK_EQ(y.dim(-1), out_features_);
  CHECK_EQ(x.rows(), y.rows());
  return {.x = x.as<T>(),
          .weight = parameters_.weight.as<T>(),
          .bias = parameters_.bias.as<T>(),
          .y = y.as<T>(),
          .N = x.rows(),
          .K = in_features_,
          .M = out_features_,
          .x_stride = x.row_stride(),
          .y_stride = y.row_stride(),
          .packed = &packed_};
}

template <typename T>
LinearBackwardInputArgs<T> Linear::BackwardInputArgs(const TensorView& dy, const TensorView& dx,
                                                     bool accumulate) {
  CHECK_EQ(dy.dim(-1), out_features_);
  CHECK_EQ(dx.dim(-1), in_features_);
  CHECK_EQ(dx.rows(), dy.rows());
  return {.dy = dy.as<T>(),
          .weight = parameters_.weight.as<T>(),
          .dx = dx.as<T>(),
          .accumulate = accumulate,
          .N = dy.rows(),
          .K = in_features_,
          .M = out_features_,
          .dy_stride = dy.row_stride(),
          .dx_stride = dx.row_stride(),
          .packed = &packed_};
}

}  // namespace sluice::ops
