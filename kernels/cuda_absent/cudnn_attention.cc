// Linked by a build without CUDA, and by one with CUDA whose toolkit has no cuDNN.
#include "kernels/api/cudnn_attention.h"

#include "core/bf16.h"
#include "core/error.h"
#include "core/fp16.h"

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

template <typename T>
absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention& /*context*/,
                                            const AttentionForwardArgs<T>& /*args*/) {
  return WithoutCudnn();
}
template <typename T>
absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention& /*context*/,
                                            const AttentionBackwardArgs<T>& /*args*/) {
  return WithoutCudnn();
}
template <typename T>
absl::Status CudnnAttentionForward(CudnnAttention& /*context*/,
                                   const AttentionForwardArgs<T>& /*args*/, T* /*ungated*/,
                                   Stream /*stream*/) {
  return WithoutCudnn();
}
template <typename T>
absl::Status CudnnAttentionBackward(CudnnAttention& /*context*/,
                                    const AttentionBackwardArgs<T>& /*args*/, const T* /*ungated*/,
                                    Stream /*stream*/) {
  return WithoutCudnn();
}

#define SLUICE_INSTANTIATE_CUDNN(T)                                                                \
  template absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention&,                            \
                                                       const AttentionForwardArgs<T>&);            \
  template absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention&,                            \
                                                       const AttentionBackwardArgs<T>&);           \
  template absl::Status CudnnAttentionForward(CudnnAttention&, const AttentionForwardArgs<T>&, T*, \
                                              Stream);                                             \
  template absl::Status CudnnAttentionBackward(CudnnAttention&, const AttentionBackwardArgs<T>&,   \
                                               const T*, Stream)
SLUICE_INSTANTIATE_CUDNN(bf16);
SLUICE_INSTANTIATE_CUDNN(fp16);
#undef SLUICE_INSTANTIATE_CUDNN

}  // namespace sluice::cuda
