#include "kernels/api/activation.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status ActivationForward(const ActivationForwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("ActivationForward");
}
template <typename T>
absl::Status ActivationBackward(const ActivationBackwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("ActivationBackward");
}

template absl::Status ActivationForward(const ActivationForwardArgs<float>&, Stream);
template absl::Status ActivationForward(const ActivationForwardArgs<bf16>&, Stream);
template absl::Status ActivationForward(const ActivationForwardArgs<fp16>&, Stream);
template absl::Status ActivationBackward(const ActivationBackwardArgs<float>&, Stream);
template absl::Status ActivationBackward(const ActivationBackwardArgs<bf16>&, Stream);
template absl::Status ActivationBackward(const ActivationBackwardArgs<fp16>&, Stream);

}  // namespace sluice::cuda
