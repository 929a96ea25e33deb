// Linear layers on cuBLASLt, whose products are described in linear_product.h.
#include "kernels/api/linear.h"

#include <type_traits>

#include "core/check.h"
#include "core/status.h"
#include "kernels/cuda/linear_bias.h"
#include "kernels/cuda/linear_product.h"

namespace sluice::cuda {

LinearContext::LinearContext() : state_(std::make_unique<State>()) {}
LinearContext::~LinearContext() = default;
void LinearContext::SetWorkspace(void* workspace) { state_->workspace = workspace; }
int64_t LinearContext::product_count() const { return std::ssize(state_->descriptions); }

template <typename T>
absl::Status LinearForward(LinearContext& context, const LinearForwardArgs<T>& args,
                           Stream stream) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.x_stride, args.K);
  CHECK_GE(args.y_stride, args.M);
  if (args.N == 0) return absl::OkStatus();
  return context.state().Run(ForwardProduct(args), stream);
}

template <typename T>
absl::Status LinearLogits(LinearContext& context, const LinearLogitsArgs<T>& args, Stream stream) {
  const int64_t x_stride = args.x_stride == 0 ? args.K : args.x_stride;
  const int64_t logits_stride = args.logits_stride == 0 ? args.M : args.logits_stride;
  CHECK_GE(args.N, 0);
  CHECK_GE(x_stride, args.K);
  CHECK_GE(logits_stride, args.M);
  if (args.N == 0) return absl::OkStatus();
  Product product = {
      .a = {args.weight, kLibraryType<T>, args.K, args.M, args.K, /*transposed=*/true},
      .b = {args.x, kLibraryType<T>, args.K, args.N, x_stride},
      .c = {args.logits, CUDA_R_32F, args.M, args.N, logits_stride}};
  if constexpr (std::is_same_v<T, float>) {
    product.bias = args.bias;
  } else if (args.bias != nullptr) {
    RETURN_IF_ERROR(SpreadBias<T>(
        {.bias = args.bias, .rows = args.logits, .N = args.N, .M = args.M, .stride = logits_stride},
        stream));
    product.accumulate = true;
  }
  return context.state().Run(product, stream);
}

template <typename T>
absl::Status LinearBackwardInput(LinearContext& context, const LinearBackwardInputArgs<T>& args,
                                 Stream stream) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.dy_stride, args.M);
  CHECK_GE(args.dx_stride, args.K);
  if (args.N == 0) return absl::OkStatus();
  return context.state().Run(BackwardInputProduct(args), stream);
}

template <typename T>
absl::Status LinearBackwardWeight(LinearContext& context, const LinearBackwardWeightArgs<T>& args,
                                  Stream stream) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.x_stride, args.K);
  CHECK_GE(args.dy_stride, args.M);
  if (args.N == 0) return absl::OkStatus();
  RETURN_IF_ERROR(context.state().Run(
      {.a = {args.x, kLibraryType<T>, args.K, args.N, args.x_stride},
       .b = {args.dy, kLibraryType<T>, args.M, args.N, args.dy_stride, /*transposed=*/true},
       .c = {args.dweight, CUDA_R_32F, args.K, args.M, args.K},
       .accumulate = true},
      stream));
  if (args.dbias == nullptr) return absl::OkStatus();
  return AddColumnSums<T>({.matrix = args.dy,
                           .sums = args.dbias,
                           .N = args.N,
                           .M = args.M,
                           .stride = args.dy_stride,
                           .workspace = static_cast<float*>(context.state().workspace),
                           .workspace_values = kLinearWorkspaceBytes / 4},
                          stream);
}

#define SLUICE_INSTANTIATE_LINEAR(T)                                                             \
  template absl::Status LinearForward(LinearContext&, const LinearForwardArgs<T>&, Stream);      \
  template absl::Status LinearLogits(LinearContext&, const LinearLogitsArgs<T>&, Stream);        \
  template absl::Status LinearBackwardInput(LinearContext&, const LinearBackwardInputArgs<T>&,   \
                                            Stream);                                             \
  template absl::Status LinearBackwardWeight(LinearContext&, const LinearBackwardWeightArgs<T>&, \
                                             Stream)
SLUICE_INSTANTIATE_LINEAR(float);
SLUICE_INSTANTIATE_LINEAR(bf16);
SLUICE_INSTANTIATE_LINEAR(fp16);
#undef SLUICE_INSTANTIATE_LINEAR

}  // namespace sluice::cuda
