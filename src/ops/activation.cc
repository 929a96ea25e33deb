#include "ops/activation.h"

#include "core/error.h"
#include "ops/dispatch.h"

namespace sluice::ops {

absl::StatusOr<Activation> ParseActivation(absl::string_view name) {
  if (name == "gelu_erf") return Activation::kGeluErf;
  if (name == "gelu_tanh") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  if (name == "tanh") return Activation::kTanh;
  return UsageError("unknown activation", name, "known: gelu_erf, gelu_tanh, relu, tanh");
}

absl::Status ActivationForward(ExecutionContext& context, Activation activation,
                               const TensorView& x, const TensorView& y) {
  CHECK_EQ(x.elements(), y.elements());
  CHECK(x.contiguous() && y.contiguous());
  return Dispatch(
      context, "activation forward", x.dtype(),
      [&]<typename T>() {
        return ActivationForwardArgs<T>{x.as<T>(), y.as<T>(), x.elements(), activation};
      },
      SLUICE_KERNELS(ActivationForward));
}

absl::Status ActivationBackward(ExecutionContext& context, Activation activation,
                                const TensorView& x, const TensorView& dy, const TensorView& dx) {
  CHECK_EQ(x.elements(), dy.elements());
  CHECK_EQ(x.elements(), dx.elements());
  CHECK(x.contiguous() && dy.contiguous() && dx.contiguous());
  return Dispatch(
      context, "activation backward", x.dtype(),
      [&]<typename T>() {
        return ActivationBackwardArgs<T>{x.as<T>(), dy.as<T>(), dx.as<T>(), x.elements(),
                                         activation};
      },
      SLUICE_KERNELS(ActivationBackward));
}

}  // namespace sluice::ops
