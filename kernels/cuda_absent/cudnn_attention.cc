// Linked by a build without CUDA, and by one with CUDA whose toolkit has no cuDNN.
#include "kernels/api/cudnn_attention.h"

#include "core/error.h"

namespace sluice::cuda {
namespace {

absl::Status WithoutCudnn() {
  return DeviceError("this sluice was built without cuDNN", "CudnnAttention",
                     "configure it where cudnn.h and libcudnn are");
}

}  // namespace

struct CudnnAttention::State {};
CudnnAttention::CudnnAttention() = default;
CudnnAttention::~CudnnAttention() = default;

CudnnFacts ReadCudnnFacts() { return {}; }

#define SLUICE_ABSENT_CUDNN(T)                                                                    \
  template <>                                                                                     \
  absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention&, const AttentionForwardArgs<T>&) {  \
    return WithoutCudnn();                                                                        \
  }                                                                                               \
  template <>                                                                                     \
  absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention&, const AttentionBackwardArgs<T>&) { \
    return WithoutCudnn();                                                                        \
  }                                                                                               \
  template <>                                                                                     \
  absl::Status CudnnAttentionForward(CudnnAttention&, const AttentionForwardArgs<T>&, T*,         \
                                     Stream) {                                                    \
    return WithoutCudnn();                                                                        \
  }                                                                                               \
  template <>                                                                                     \
  absl::Status CudnnAttentionBackward(CudnnAttention&, const AttentionBackwardArgs<T>&, const T*, \
                                      Stream) {                                                   \
    return WithoutCudnn();                                                                        \
  }                                                                                               \
  static_assert(true, "so that a semicolon may follow")
SLUICE_ABSENT_CUDNN(bf16);
SLUICE_ABSENT_CUDNN(fp16);
#undef SLUICE_ABSENT_CUDNN

}  // namespace sluice::cuda
