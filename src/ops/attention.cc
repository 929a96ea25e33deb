#include "ops/attention.h"

#include <cmath>

#include "core/parallel.h"
#include "ops/cudnn_attention.h"
#include "ops/dispatch.h"

namespace sluice::ops {
namespace {

// What both directions have.
template <typename Call>
void CheckShapes(const Call& call) {
  const auto [B, T_, H, D] = call.dims;
  CHECK_EQ(call.qkv.rows(), B * T_);
  CHECK_EQ(call.qkv.dim(-1), 3 * H * D);
  CHECK_EQ(call.gate.null(), call.gate_site == GateSite::kNone);
  if (!call.gate.null()) {
    CHECK_EQ(call.gate.elements(), B * T_ * H * (call.gate_per_channel ? D : 1));
    CHECK(call.gate.contiguous());
  }
  CHECK(call.clip.gamma <= 0 && call.clip.zeta >= 1) << call.clip.gamma << ", " << call.clip.zeta;
  CHECK_EQ(call.sink_logit.null(), call.sink != SoftmaxSink::kLogit);
  if (!call.sink_logit.null()) CHECK_EQ(call.sink_logit.elements(), H);
  CHECK_EQ(call.sink_key.null(), call.sink_value.null());
  if (!call.sink_key.null()) {
    CHECK_EQ(call.sink_key.elements(), H * D);
    CHECK_EQ(call.sink_value.elements(), H * D);
  }
  CHECK_GE(call.mask.registers, 0);
  CHECK_LE(call.mask.registers, T_);
}

// A gradient has the shape of what it is the gradient of.
void CheckGradient(const TensorView& gradient, const TensorView& of) {
  CHECK_EQ(gradient.null(), of.null());
  if (!of.null()) CHECK_EQ(gradient.elements(), of.elements());
}

int64_t SinkBatch(const AttentionDims& dims, bool sink_logit, bool sink_token) {
  return sink_logit || sink_token ? dims.B : 0;
}

int64_t ForwardWorkspaceBytes(const ExecutionContext& context, const AttentionDims& dims) {
  if (context.cudnn() != nullptr) return 0;  // it asks for its own
  const auto [B, T_, H, D] = dims;
  return context.on_cuda() ? cuda::AttentionForwardWorkspaceBytes(B, T_, H, D)
                           : AttentionForwardWorkspaceBytes(T_, H, D, ComputeThreads());
}

int64_t BackwardWorkspaceBytes(const ExecutionContext& context, const AttentionDims& dims,
                               int64_t sink_batch) {
  if (context.cudnn() != nullptr) return 0;
  const auto [B, T_, H, D] = dims;
  return context.on_cuda()
             ? cuda::AttentionBackwardWorkspaceBytes(B, T_, H, D)
             : AttentionBackwardWorkspaceBytes(T_, H, D, ComputeThreads(), sink_batch);
}

}  // namespace

absl::Status Run(ExecutionContext& context, const AttentionForward& call) {
  const auto [B, T_, H, D] = call.dims;
  CheckShapes(call);
  CHECK_EQ(call.out.elements(), B * T_ * H * D);
  return Dispatch(
      context, "attention forward", call.qkv.dtype(),
      [&]<typename T>() {
        const T* qkv = call.qkv.as<T>();
        return AttentionForwardArgs<T>{
            .q = qkv,
            .k = qkv + call.dims.H * call.dims.D,
            .v = qkv + 2 * call.dims.H * call.dims.D,
            .gate = call.gate.as<Accumulator<T>>(),
            .out = call.out.as<T>(),
            .log_sum_exp = call.log_sum_exp.as<Accumulator<T>>(),
            .B = call.dims.B,
            .T_ = call.dims.T,
            .H = call.dims.H,
            .D = call.dims.D,
            .qkv_stride = call.qkv.row_stride(),
            .scale = Accumulator<T>(1 / std::sqrt(static_cast<double>(call.dims.D))),
            .gate_site = call.gate_site,
            .gate_per_channel = call.gate_per_channel,
            .weights = call.weights,
            .clip = call.clip,
            .sink = call.sink,
            .sink_logit = call.sink_logit.as<T>(),
            .sink_key = call.sink_key.as<T>(),
            .sink_value = call.sink_value.as<T>(),
            .mask = call.mask,
            .dropout = call.dropout,
            .workspace = context.workspace(ForwardWorkspaceBytes(context, call.dims))};
      },
      Kernels{reference::AttentionForward,
              [](const auto& args) { return cpu::AttentionForward(args); },
              [&](const auto& args, cuda::Stream stream) {
                return context.cudnn() == nullptr ? cuda::AttentionForward(args, stream)
                                                  : RunCudnn(context, args, call.ungated, stream);
              }});
}

absl::Status Run(ExecutionContext& context, const AttentionBackward& call) {
  const auto [B, T_, H, D] = call.dims;
  CheckShapes(call);
  CheckGradient(call.dgate, call.gate);
  CheckGradient(call.dsink_logit, call.sink_logit);
  CheckGradient(call.dsink_key, call.sink_key);
  CheckGradient(call.dsink_value, call.sink_value);
  CHECK_EQ(call.out.elements(), B * T_ * H * D);
  CHECK_EQ(call.dout.elements(), B * T_ * H * D);
  CHECK_EQ(call.dqkv.elements(), call.qkv.elements());
  CHECK_EQ(call.dqkv.row_stride(), call.qkv.row_stride());
  return Dispatch(
      context, "attention backward", call.qkv.dtype(),
      [&]<typename T>() {
        const T* qkv = call.qkv.as<T>();
        T* dqkv = call.dqkv.as<T>();
        const int64_t C = call.dims.H * call.dims.D;
        return AttentionBackwardArgs<T>{
            .q = qkv,
            .k = qkv + C,
            .v = qkv + 2 * C,
            .gate = call.gate.as<Accumulator<T>>(),
            .out = call.out.as<T>(),
            .log_sum_exp = call.log_sum_exp.as<Accumulator<T>>(),
            .dout = call.dout.as<T>(),
            .dq = dqkv,
            .dk = dqkv + C,
            .dv = dqkv + 2 * C,
            .dgate = call.dgate.as<Accumulator<T>>(),
            .B = call.dims.B,
            .T_ = call.dims.T,
            .H = call.dims.H,
            .D = call.dims.D,
            .qkv_stride = call.qkv.row_stride(),
            .scale = Accumulator<T>(1 / std::sqrt(static_cast<double>(call.dims.D))),
            .gate_site = call.gate_site,
            .gate_per_channel = call.gate_per_channel,
            .weights = call.weights,
            .clip = call.clip,
            .sink = call.sink,
            .sink_logit = call.sink_logit.as<T>(),
            .sink_key = call.sink_key.as<T>(),
            .sink_value = call.sink_value.as<T>(),
            .dsink_logit = call.dsink_logit.as<Accumulator<T>>(),
            .dsink_key = call.dsink_key.as<Accumulator<T>>(),
            .dsink_value = call.dsink_value.as<Accumulator<T>>(),
            .mask = call.mask,
            .dropout = call.dropout,
            .workspace = context.workspace(BackwardWorkspaceBytes(
                context, call.dims,
                SinkBatch(call.dims, !call.sink_logit.null(), !call.sink_key.null())))};
      },
      Kernels{reference::AttentionBackward,
              [](const auto& args) { return cpu::AttentionBackward(args); },
              [&](const auto& args, cuda::Stream stream) {
                return context.cudnn() == nullptr ? cuda::AttentionBackward(args, stream)
                                                  : RunCudnn(context, args, call.ungated, stream);
              }});
}

void PlanAttention(ExecutionContext& context, const AttentionDims& dims, bool train,
                   const AttentionVariant& variant) {
  context.NeedWorkspace(ForwardWorkspaceBytes(context, dims));
  if (!train) return;
  context.NeedWorkspace(BackwardWorkspaceBytes(
      context, dims, SinkBatch(dims, variant.sink == SoftmaxSink::kLogit, variant.sink_token)));
}

}  // namespace sluice::ops
