#include "ops/linear.h"

#include <type_traits>

#include "absl/strings/str_cat.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "ops/dispatch.h"

// A product's kernels: each backend has a library, whose state the context holds.
#define SLUICE_LINEAR_KERNELS(Op)                                                          \
  ::sluice::ops::Kernels {                                                                 \
    ::sluice::reference::Op,                                                               \
        [&](const auto& args) { return ::sluice::cpu::Op(context.linear_cache(), args); }, \
        [&](const auto& args, ::sluice::cuda::Stream stream) {                             \
          return ::sluice::cuda::Op(context.cuda_linear(), args, stream);                  \
        }                                                                                  \
  }

namespace sluice::ops {
namespace {

// Of the weight gradient, on the CPU.
template <typename T>
int64_t WorkspaceBytes(const ExecutionContext& context, int64_t in_features, int64_t out_features) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, bf16>) {
    if (context.on_cuda()) return 0;
    return cpu::LinearBackwardWeightWorkspaceBytes<T>(in_features, out_features);
  } else {
    return 0;
  }
}

}  // namespace

void Linear::Plan(ExecutionContext& context, Arena& arena, absl::string_view name, DType dtype,
                  const Dims& dims, bool train) {
  const auto [rows, in_features, out_features] = dims;
  in_features_ = in_features;
  out_features_ = out_features;
  if (context.on_cuda()) return;  // cuBLASLt reads the plain weight
  cpu::LinearCache& cache = context.linear_cache();
  int64_t forward_bytes = 0, backward_bytes = 0;
  if (dtype == DType::kFloat32) {
    forward_bytes = cpu::PackedForwardBytes<float>(cache, rows, in_features, out_features);
    backward_bytes = cpu::PackedBackwardInputBytes<float>(cache, rows, in_features, out_features);
  } else if (dtype == DType::kBFloat16) {
    forward_bytes = cpu::PackedForwardBytes<bf16>(cache, rows, in_features, out_features);
    backward_bytes = cpu::PackedBackwardInputBytes<bf16>(cache, rows, in_features, out_features);
  }
  if (train) {
    backward_workspace_bytes_ = dtype == DType::kFloat32
                                    ? WorkspaceBytes<float>(context, in_features, out_features)
                                    : WorkspaceBytes<bf16>(context, in_features, out_features);
    context.NeedWorkspace(backward_workspace_bytes_);
  }
  auto reserve = [&](absl::string_view what, int64_t bytes) {
    return arena.Reserve(absl::StrCat(name, what), MemoryPurpose::kPackedWeights, DType::kInt32,
                         {CeilDiv(bytes, 4)});
  };
  if (forward_bytes > 0) packed_forward_ = reserve(".packed_forward", forward_bytes);
  if (train && backward_bytes > 0) packed_backward_ = reserve(".packed_backward", backward_bytes);
}

void Linear::Bind(const Parameters& parameters) {
  CHECK_EQ(parameters.weight.shape(), (Shape{out_features_, in_features_}));
  parameters_ = parameters;
  packed_.forward = packed_forward_ == nullptr ? nullptr : packed_forward_->data();
  packed_.backward_input = packed_backward_ == nullptr ? nullptr : packed_backward_->data();
  WeightsChanged();
}

void Linear::WeightsChanged() {
  packed_.forward_is_current = false;
  packed_.backward_input_is_current = false;
}

absl::Status Linear::Forward(ExecutionContext& context, const TensorView& x, const TensorView& y) {
  if (LinearExecutor* executor = context.linear_executor(); executor != nullptr) {
    ASSIGN_OR_RETURN(const bool done,
                     executor->Run(context, {x, parameters_.weight, parameters_.bias, y}));
    if (done) return absl::OkStatus();
  }
  return Dispatch(
      context, "linear forward", x.dtype(), [&]<typename T>() { return ForwardArgs<T>(x, y); },
      SLUICE_LINEAR_KERNELS(LinearForward));
}

absl::Status Linear::ForwardLogits(ExecutionContext& context, const TensorView& x,
                                   const TensorView& logits) {
  CHECK_EQ(x.dim(-1), in_features_);
  CHECK_EQ(logits.dim(-1), out_features_);
  CHECK_EQ(x.rows(), logits.rows());
  return Dispatch(
      context, "linear logits", x.dtype(),
      [&]<typename T>() {
        return LinearLogitsArgs<T>{.x = x.as<T>(),
                                   .weight = parameters_.weight.as<T>(),
                                   .bias = parameters_.bias.as<T>(),
                                   .logits = logits.as<Accumulator<T>>(),
                                   .N = x.rows(),
                                   .K = in_features_,
                                   .M = out_features_,
                                   .packed = &packed_,
                                   .x_stride = x.row_stride(),
                                   .logits_stride = logits.row_stride()};
      },
      SLUICE_LINEAR_KERNELS(LinearLogits));
}

absl::Status Linear::BackwardInput(ExecutionContext& context, const TensorView& dy,
                                   const TensorView& dx, bool accumulate) {
  return Dispatch(
      context, "linear backward input", dy.dtype(),
      [&]<typename T>() { return BackwardInputArgs<T>(dy, dx, accumulate); },
      SLUICE_LINEAR_KERNELS(LinearBackwardInput));
}

absl::Status Linear::BackwardWeight(ExecutionContext& context, const TensorView& x,
                                    const TensorView& dy, bool with_bias) {
  CHECK_EQ(x.dim(-1), in_features_);
  CHECK_EQ(dy.dim(-1), out_features_);
  CHECK_EQ(x.rows(), dy.rows());
  CHECK(!parameters_.weight_gradient.null()) << "planned without backward";
  return Dispatch(
      context, "linear backward weight", dy.dtype(),
      [&]<typename T>() {
        const int64_t bytes = WorkspaceBytes<T>(context, in_features_, out_features_);
        CHECK_LE(bytes, backward_workspace_bytes_) << "more threads than when it was planned";
        return LinearBackwardWeightArgs<T>{
            .x = x.as<T>(),
            .dy = dy.as<T>(),
            .dweight = parameters_.weight_gradient.as<Accumulator<T>>(),
            .dbias = with_bias ? parameters_.bias_gradient.as<Accumulator<T>>() : nullptr,
            .N = dy.rows(),
            .K = in_features_,
            .M = out_features_,
            .x_stride = x.row_stride(),
            .dy_stride = dy.row_stride(),
            .workspace = bytes > 0 ? context.workspace(bytes) : nullptr};
      },
      SLUICE_LINEAR_KERNELS(LinearBackwardWeight));
}

}  // namespace sluice::ops
