#include "kernels/api/attention.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

int64_t AttentionForwardWorkspaceBytes(int64_t /*B*/, int64_t /*T*/, int64_t /*H*/, int64_t /*D*/) {
  return 0;
}
int64_t AttentionBackwardWorkspaceBytes(int64_t /*B*/, int64_t /*T*/, int64_t /*H*/,
                                        int64_t /*D*/) {
  return 0;
}

template <typename T>
absl::Status AttentionForward(const AttentionForwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("AttentionForward");
}
template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("AttentionBackward");
}

template absl::Status AttentionForward(const AttentionForwardArgs<float>&, Stream);
template absl::Status AttentionForward(const AttentionForwardArgs<bf16>&, Stream);
template absl::Status AttentionForward(const AttentionForwardArgs<fp16>&, Stream);
template absl::Status AttentionBackward(const AttentionBackwardArgs<float>&, Stream);
template absl::Status AttentionBackward(const AttentionBackwardArgs<bf16>&, Stream);
template absl::Status AttentionBackward(const AttentionBackwardArgs<fp16>&, Stream);

}  // namespace sluice::cuda
