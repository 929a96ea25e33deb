// The attention op by cuDNN, where the context's choice is that.
#pragma once

#include <type_traits>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/fp16.h"
#include "core/status.h"
#include "kernels/api/cudnn_attention.h"
#include "ops/attention.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// What cuDNN's attention of this size needs of a model's memory, and its plans, which are made.
// train: with backward. DeviceError where the library has no plan.
absl::Status PlanCudnnAttention(ExecutionContext& context, const AttentionDims& dims, DType dtype,
                                const AttentionVariant& variant, bool causal, bool train);

// Args: AttentionForwardArgs or AttentionBackwardArgs. ungated: ops/attention.h.
template <template <typename> typename Args, typename T>
absl::Status RunCudnn(ExecutionContext& context, Args<T> args, const TensorView& ungated,
                      cuda::Stream stream) {
  if constexpr (std::is_same_v<T, float>) {
    CHECK(false) << "fp32 by cuDNN: attention_kernel.h refuses it";
    return absl::OkStatus();
  } else {
    cuda::CudnnAttention& cudnn = *context.cudnn();
    CHECK(!ungated.null());
    ASSIGN_OR_RETURN(const int64_t bytes, cuda::CudnnWorkspaceBytes(cudnn, args));
    if (bytes > context.workspace_bytes()) {
      return DeviceError("cuDNN wants more workspace for a smaller batch", "",
                         absl::StrCat(bytes, " bytes of ", context.workspace_bytes()));
    }
    args.workspace = context.workspace(bytes);
    if constexpr (std::is_same_v<Args<T>, AttentionForwardArgs<T>>) {
      return cuda::CudnnAttentionForward<T>(cudnn, args, ungated.as<T>(), stream);
    } else {
      return cuda::CudnnAttentionBackward<T>(cudnn, args, ungated.as<T>(), stream);
    }
  }
}

}  // namespace sluice::ops
