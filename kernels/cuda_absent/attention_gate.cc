#include "kernels/api/attention_gate.h"

#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status AttentionGateForward(const AttentionGateForwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("AttentionGateForward");
}
template <typename T>
absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<T>& /*args*/,
                                   Stream /*stream*/) {
  return Absent("AttentionGateBackward");
}
template <typename T>
absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("GateSigmoidForward");
}
template <typename T>
absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("GateSigmoidBackward");
}
int64_t AttentionGateBackwardWorkspaceBytes(int64_t /*N*/, int64_t /*C*/, int64_t /*H*/) {
  return 0;
}

template absl::Status AttentionGateForward(const AttentionGateForwardArgs<float>&, Stream);
template absl::Status AttentionGateForward(const AttentionGateForwardArgs<bf16>&, Stream);
template absl::Status AttentionGateForward(const AttentionGateForwardArgs<fp16>&, Stream);
template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<float>&, Stream);
template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<bf16>&, Stream);
template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<fp16>&, Stream);
template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<float>&, Stream);
template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<bf16>&, Stream);
template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<fp16>&, Stream);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<float>&, Stream);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<bf16>&, Stream);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<fp16>&, Stream);

}  // namespace sluice::cuda
