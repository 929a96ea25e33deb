#include "ops/linear_activation.h"

#include "core/status.h"
#include "ops/activation.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

// An op's kernels where the CPU has composed it already.
template <typename Cuda>
auto OnCudaOnly(const Cuda& cuda) {
  return Kernels{[](const auto&) { CHECK(false) << "composed on the CPU"; },
                 [](const auto&) {
                   CHECK(false) << "composed on the CPU";
                   return absl::OkStatus();
                 },
                 cuda};
}

}  // namespace

absl::Status Run(ExecutionContext& context, const LinearActivationForward& call) {
  CHECK(call.y.contiguous() && call.pre_activation.contiguous());
  CHECK_EQ(call.pre_activation.elements(), call.y.elements());
  const bool relu = call.activation == Activation::kRelu;
  CHECK_EQ(relu, call.pre_activation.data() == call.y.data());
  if (!context.on_cuda()) {
    RETURN_IF_ERROR(call.layer.Forward(context, call.x, call.pre_activation));
    return ActivationForward(context, call.activation, call.pre_activation, call.y);
  }
  return Dispatch(
      context, "linear activation forward", call.x.dtype(),
      [&]<typename T>() {
        return LinearActivationForwardArgs<T>{
            .linear = call.layer.ForwardArgs<T>(call.x, call.y),
            .pre_activation = relu ? nullptr : call.pre_activation.as<T>(),
            .activation = call.activation};
      },
      OnCudaOnly([&](const auto& args, cuda::Stream stream) {
        return cuda::LinearActivationForward(context.cuda_linear(), args, stream);
      }));
}

absl::Status Run(ExecutionContext& context, const LinearActivationBackward& call) {
  CHECK(call.pre_activation.contiguous() && call.dpre_activation.contiguous());
  CHECK_EQ(call.pre_activation.elements(), call.dpre_activation.elements());
  if (!context.on_cuda()) {
    RETURN_IF_ERROR(
        call.next.BackwardInput(context, call.dy, call.dpre_activation, /*accumulate=*/false));
    RETURN_IF_ERROR(ActivationBackward(context, call.activation, call.pre_activation,
                                       call.dpre_activation, call.dpre_activation));
    return call.layer.BackwardWeight(context, call.x, call.dpre_activation);
  }
  RETURN_IF_ERROR(Dispatch(
      context, "linear activation backward", call.dy.dtype(),
      [&]<typename T>() {
        return LinearActivationBackwardArgs<T>{
            .next =
                call.next.BackwardInputArgs<T>(call.dy, call.dpre_activation, /*accumulate=*/false),
            .saved = call.pre_activation.as<T>(),
            .dbias = call.layer.parameters().bias_gradient.as<Accumulator<T>>(),
            .activation = call.activation};
      },
      OnCudaOnly([&](const auto& args, cuda::Stream stream) {
        return cuda::LinearActivationBackward(context.cuda_linear(), args, stream);
      })));
  return call.layer.BackwardWeight(context, call.x, call.dpre_activation, /*with_bias=*/false);
}

}  // namespace sluice::ops
