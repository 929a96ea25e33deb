#include "ops/cudnn_attention.h"

namespace sluice::ops {
namespace {

// Only whether pointers are null is looked at in planning.
template <typename T>
absl::Status Plan(ExecutionContext& context, const AttentionDims& dims, GateSite site, bool causal,
                  bool train) {
  static const int32_t lengths = 0;
  float statistics = 0;
  for (const int32_t* some_lengths : {static_cast<const int32_t*>(nullptr), &lengths}) {
    const AttentionMask mask{.causal = causal, .lengths = some_lengths};
    AttentionForwardArgs<T> forward = {};
    forward.log_sum_exp = &statistics;
    AttentionBackwardArgs<T> backward = {};
    const auto set_sizes = [&](auto& args) {
      args.B = dims.B;
      args.T_ = dims.T;
      args.H = dims.H;
      args.D = dims.D;
      args.qkv_stride = 3 * dims.H * dims.D;
      args.gate_site = site;
      args.mask = mask;
    };
    set_sizes(forward);
    ASSIGN_OR_RETURN(const int64_t forward_bytes,
                     cuda::CudnnWorkspaceBytes(*context.cudnn(), forward));
    context.NeedWorkspace(forward_bytes);
    if (!train) continue;
    set_sizes(backward);
    ASSIGN_OR_RETURN(const int64_t backward_bytes,
                     cuda::CudnnWorkspaceBytes(*context.cudnn(), backward));
    context.NeedWorkspace(backward_bytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PlanCudnnAttention(ExecutionContext& context, const AttentionDims& dims, DType dtype,
                                const AttentionVariant& variant, bool causal, bool train) {
  CHECK(dtype == DType::kBFloat16 || dtype == DType::kFloat16);
  return dtype == DType::kBFloat16 ? Plan<bf16>(context, dims, variant.gate_site, causal, train)
                                   : Plan<fp16>(context, dims, variant.gate_site, causal, train);
}

}  // namespace sluice::ops
