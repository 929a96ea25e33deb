#include "ops/attention_gate.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/status.h"
#include "kernels/api/attention_gate.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

void CheckWeight(const TensorView& weight, int64_t C, bool per_head_slice) {
  const int64_t H = weight.dim(0);
  CHECK_EQ(C % H, 0) << "heads do not divide the features";
  CHECK_EQ(weight.dim(1), per_head_slice ? C / H : C);
}

int64_t BackwardWorkspaceBytes(const ExecutionContext& context, int64_t N, int64_t C, int64_t H) {
  return context.on_cuda() ? cuda::AttentionGateBackwardWorkspaceBytes(N, C, H)
                           : AttentionGateBackwardWorkspaceBytes(N, C, H);
}

// Elements [first, first + count) of a vector; null of null.
TensorView Slice(const TensorView& vector, int64_t first, int64_t count) {
  if (vector.null()) return {};
  char* data = static_cast<char*>(vector.data()) + first * SizeOf(vector.dtype());
  return TensorView(data, vector.dtype(), {count});
}

absl::Status Sigmoid(ExecutionContext& context, DType dtype, const TensorView& gate) {
  return Dispatch(
      context, "channel gate sigmoid", dtype,
      [&]<typename T>() {
        return GateSigmoidForwardArgs<T>{.gate = gate.as<Accumulator<T>>(),
                                         .count = gate.elements()};
      },
      SLUICE_KERNELS(GateSigmoidForward));
}

absl::Status SigmoidBackward(ExecutionContext& context, const ChannelGate::Gradients& call,
                             const TensorView& dlogits) {
  return Dispatch(
      context, "channel gate sigmoid backward", dlogits.dtype(),
      [&]<typename T>() {
        return GateSigmoidBackwardArgs<T>{.gate = call.gate.as<Accumulator<T>>(),
                                          .dgate = call.dgate.as<Accumulator<T>>(),
                                          .dlogits = dlogits.as<T>(),
                                          .count = dlogits.elements()};
      },
      SLUICE_KERNELS(GateSigmoidBackward));
}

}  // namespace

absl::Status Run(ExecutionContext& context, const AttentionGateForward& call) {
  const int64_t N = call.source.rows(), C = call.source.dim(-1), H = call.weight.dim(0);
  CheckWeight(call.weight, C, call.per_head_slice);
  CHECK_EQ(call.gate.elements(), N * H);
  return Dispatch(
      context, "attention_gate forward", call.source.dtype(),
      [&]<typename T>() {
        return AttentionGateForwardArgs<T>{.source = call.source.as<T>(),
                                           .weight = call.weight.as<T>(),
                                           .bias = call.bias.as<T>(),
                                           .gate = call.gate.as<Accumulator<T>>(),
                                           .N = N,
                                           .C = C,
                                           .H = H,
                                           .source_stride = call.source.row_stride(),
                                           .per_head_slice = call.per_head_slice};
      },
      SLUICE_KERNELS(AttentionGateForward));
}

absl::Status Run(ExecutionContext& context, const AttentionGateBackward& call) {
  const int64_t N = call.source.rows(), C = call.source.dim(-1), H = call.weight.dim(0);
  CheckWeight(call.weight, C, call.per_head_slice);
  CHECK_EQ(call.dsource.shape(), call.source.shape());
  CHECK_EQ(call.dgate.elements(), N * H);
  CHECK_EQ(call.dweight.elements(), call.weight.elements());
  return Dispatch(
      context, "attention_gate backward", call.source.dtype(),
      [&]<typename T>() {
        return AttentionGateBackwardArgs<T>{
            .source = call.source.as<T>(),
            .weight = call.weight.as<T>(),
            .gate = call.gate.as<Accumulator<T>>(),
            .dgate = call.dgate.as<Accumulator<T>>(),
            .dsource = call.dsource.as<T>(),
            .dweight = call.dweight.as<Accumulator<T>>(),
            .dbias = call.dbias.as<Accumulator<T>>(),
            .workspace = context.workspace(BackwardWorkspaceBytes(context, N, C, H)),
            .N = N,
            .C = C,
            .H = H,
            .source_stride = call.source.row_stride(),
            .dsource_stride = call.dsource.row_stride(),
            .per_head_slice = call.per_head_slice};
      },
      SLUICE_KERNELS(AttentionGateBackward));
}

void PlanAttentionGate(ExecutionContext& context, int64_t N, int64_t C, int64_t H) {
  context.NeedWorkspace(BackwardWorkspaceBytes(context, N, C, H));
}

void ChannelGate::Plan(ExecutionContext& context, Arena& arena, absl::string_view name, DType dtype,
                       const Dims& dims, bool train) {
  dims_ = dims;
  const int64_t C = dims.H * dims.D, block = dims.per_head_slice ? dims.D : C;
  blocks_ = std::vector<Linear>(C / block);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const std::string block_name =
        dims.per_head_slice ? absl::StrCat(name, ".", i) : std::string(name);
    blocks_[i].Plan(context, arena, block_name, dtype, {dims.rows, block, block}, train);
  }
  if (train) context.NeedWorkspace(dims.rows * C * SizeOf(dtype));  // gradients of the logits
}

void ChannelGate::Bind(const Linear::Parameters& parameters) {
  const int64_t block = parameters.weight.dim(1);
  CHECK_EQ(parameters.weight.dim(0), dims_.H * dims_.D);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int64_t first = static_cast<int64_t>(i) * block;
    const TensorView& gradient = parameters.weight_gradient;
    blocks_[i].Bind(
        {.weight = parameters.weight.Rows(first, block),
         .bias = Slice(parameters.bias, first, block),
         .weight_gradient = gradient.null() ? TensorView() : gradient.Rows(first, block),
         .bias_gradient = Slice(parameters.bias_gradient, first, block)});
  }
}

void ChannelGate::WeightsChanged() {
  for (Linear& block : blocks_) block.WeightsChanged();
}

absl::Status ChannelGate::Forward(ExecutionContext& context, const TensorView& source,
                                  const TensorView& gate) {
  CHECK_EQ(source.dim(-1), dims_.H * dims_.D);
  CHECK_EQ(gate.elements(), source.elements());
  const int64_t block = source.dim(-1) / static_cast<int64_t>(blocks_.size());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int64_t first = static_cast<int64_t>(i) * block;
    RETURN_IF_ERROR(blocks_[i].ForwardLogits(context, source.Columns(first, block),
                                             gate.Columns(first, block)));
  }
  return Sigmoid(context, source.dtype(), gate);
}

absl::Status ChannelGate::Backward(ExecutionContext& context, const Gradients& call) {
  const int64_t C = dims_.H * dims_.D, N = call.source.rows();
  CHECK_EQ(call.source.dim(-1), C);
  CHECK_EQ(call.dsource.shape(), call.source.shape());
  CHECK_EQ(call.gate.elements(), N * C);
  CHECK_EQ(call.dgate.elements(), N * C);
  const DType dtype = call.source.dtype();
  const TensorView dlogits(context.workspace(N * C * SizeOf(dtype)), dtype, {N, C});
  RETURN_IF_ERROR(SigmoidBackward(context, call, dlogits));
  const int64_t block = C / static_cast<int64_t>(blocks_.size());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int64_t first = static_cast<int64_t>(i) * block;
    const TensorView dblock = dlogits.Columns(first, block);
    RETURN_IF_ERROR(blocks_[i].BackwardWeight(context, call.source.Columns(first, block), dblock));
    RETURN_IF_ERROR(blocks_[i].BackwardInput(context, dblock, call.dsource.Columns(first, block),
                                             /*accumulate=*/true));
  }
  return absl::OkStatus();
}

}  // namespace sluice::ops
