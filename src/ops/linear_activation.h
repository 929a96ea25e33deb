// Linear layer and activation together: y = f(x · weightᵀ + bias), and the way back through the
// layer that reads y. CUDA does what it can of both at once (kernels/api/linear.h); the CPU does
// one after the other.
#pragma once

#include "absl/status/status.h"
#include "kernels/api/activation.h"
#include "ops/linear.h"

namespace sluice::ops {

struct LinearActivationForward {
  Linear& layer;
  Activation activation;
  TensorView x;               // (N, in)
  TensorView pre_activation;  // (N, out), overwritten: for backward. relu: y's memory, as its slope
                              // can be told from y
  TensorView y;               // (N, out), overwritten
};
absl::Status Run(ExecutionContext& context, const LinearActivationForward& call);

// dpre = (dy · next's weight) ∘ f'(pre_activation), and what it adds to the gradients of `layer`'s
// weight and bias. The gradients of `next` are for its own backward.
struct LinearActivationBackward {
  Linear& layer;
  Linear& next;
  Activation activation;
  TensorView x;                // (N, in): the layer's
  TensorView pre_activation;   // (N, out), as forward left it
  TensorView dy;               // (N, next's out)
  TensorView dpre_activation;  // (N, out), overwritten
};
absl::Status Run(ExecutionContext& context, const LinearActivationBackward& call);

}  // namespace sluice::ops
