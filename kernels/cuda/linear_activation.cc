// Linear layer and activation together: by the library's epilogues where it has the function and an
// algorithm for the shape, else a product and a kernel.
#include "core/check.h"
#include "core/status.h"
#include "kernels/api/linear.h"
#include "kernels/cuda/activation_bias.h"
#include "kernels/cuda/linear_bias.h"
#include "kernels/cuda/linear_product.h"

namespace sluice::cuda {
namespace {

constexpr int64_t kWorkspaceValues = kLinearWorkspaceBytes / static_cast<int64_t>(sizeof(float));

float* WorkspaceOf(LinearContext& context) {
  return static_cast<float*>(context.state().workspace);
}

// False where there is no epilogue for it.
template <typename T>
absl::StatusOr<bool> FusedForward(LinearContext& context,
                                  const LinearActivationForwardArgs<T>& args, Stream stream) {
  Product product = ForwardProduct(args.linear);
  if (args.activation == Activation::kRelu) {
    product.epilogue = Epilogue::kRelu;
  } else if (args.activation == Activation::kGeluTanh &&
             CanBeAuxiliary(args.pre_activation, args.linear.M)) {
    product.epilogue = Epilogue::kGeluTanh;
    product.auxiliary = args.pre_activation;
    product.auxiliary_stride = args.linear.M;
  } else {
    return false;
  }
  return context.state().RunIfSupported(product, stream);
}

// The bias gradient comes after it: the epilogue that has both (DGELU_BGRAD) would overwrite it, in
// 16 bits where T has 16.
template <typename T>
absl::StatusOr<bool> FusedBackward(LinearContext& context,
                                   const LinearActivationBackwardArgs<T>& args, Stream stream) {
  if (args.activation != Activation::kGeluTanh || !CanBeAuxiliary(args.saved, args.next.K)) {
    return false;
  }
  Product product = BackwardInputProduct(args.next);
  product.epilogue = Epilogue::kGeluGradient;
  product.auxiliary = args.saved;
  product.auxiliary_stride = args.next.K;
  return context.state().RunIfSupported(product, stream);
}

}  // namespace

template <typename T>
absl::Status LinearActivationForward(LinearContext& context,
                                     const LinearActivationForwardArgs<T>& args, Stream stream) {
  const LinearForwardArgs<T>& linear = args.linear;
  CHECK_GE(linear.N, 0);
  CHECK_GE(linear.x_stride, linear.K);
  CHECK_EQ(linear.y_stride, linear.M);
  CHECK_EQ(args.pre_activation == nullptr, args.activation == Activation::kRelu);
  if (linear.N == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool fused, FusedForward(context, args, stream));
  if (fused) return absl::OkStatus();
  LinearForwardArgs<T> product = linear;
  if (args.pre_activation != nullptr) product.y = args.pre_activation;
  RETURN_IF_ERROR(LinearForward(context, product, stream));
  return ActivationForward<T>(
      {.x = product.y, .y = linear.y, .count = linear.N * linear.M, .activation = args.activation},
      stream);
}

template <typename T>
absl::Status LinearActivationBackward(LinearContext& context,
                                      const LinearActivationBackwardArgs<T>& args, Stream stream) {
  const LinearBackwardInputArgs<T>& next = args.next;
  CHECK_GE(next.N, 0);
  CHECK_GE(next.dy_stride, next.M);
  CHECK_EQ(next.dx_stride, next.K);
  CHECK(!next.accumulate);
  if (next.N == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool fused, FusedBackward(context, args, stream));
  if (fused) {
    if (args.dbias == nullptr) return absl::OkStatus();
    return AddColumnSums<T>({.matrix = next.dx,
                             .sums = args.dbias,
                             .N = next.N,
                             .M = next.K,
                             .stride = next.K,
                             .workspace = WorkspaceOf(context),
                             .workspace_values = kWorkspaceValues},
                            stream);
  }
  RETURN_IF_ERROR(LinearBackwardInput(context, next, stream));
  if (args.dbias == nullptr) {
    return ActivationBackward<T>({.x = args.saved,
                                  .dy = next.dx,
                                  .dx = next.dx,
                                  .count = next.N * next.K,
                                  .activation = args.activation},
                                 stream);
  }
  return ActivationBackwardBias<T>({.x = args.saved,
                                    .dx = next.dx,
                                    .sums = args.dbias,
                                    .N = next.N,
                                    .M = next.K,
                                    .activation = args.activation,
                                    .workspace = WorkspaceOf(context),
                                    .workspace_values = kWorkspaceValues},
                                   stream);
}

#define SLUICE_INSTANTIATE_LINEAR_ACTIVATION(T)                                                 \
  template absl::Status LinearActivationForward(LinearContext&,                                 \
                                                const LinearActivationForwardArgs<T>&, Stream); \
  template absl::Status LinearActivationBackward(LinearContext&,                                \
                                                 const LinearActivationBackwardArgs<T>&, Stream)
SLUICE_INSTANTIATE_LINEAR_ACTIVATION(float);
SLUICE_INSTANTIATE_LINEAR_ACTIVATION(bf16);
SLUICE_INSTANTIATE_LINEAR_ACTIVATION(fp16);
#undef SLUICE_INSTANTIATE_LINEAR_ACTIVATION

}  // namespace sluice::cuda
