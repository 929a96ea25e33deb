// Elementwise activations; formulas in kernels/api/activation.h.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/api/activation.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// gelu_erf, gelu_tanh, relu or tanh. UsageError for anything else.
absl::StatusOr<Activation> ParseActivation(absl::string_view name);

// y = f(x); y may be x.
absl::Status ActivationForward(ExecutionContext& context, Activation activation,
                               const TensorView& x, const TensorView& y);
// dx = dy · f'(x); dx may be dy.
absl::Status ActivationBackward(ExecutionContext& context, Activation activation,
                                const TensorView& x, const TensorView& dy, const TensorView& dx);

}  // namespace sluice::ops
