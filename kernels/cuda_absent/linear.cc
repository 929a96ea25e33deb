#include "kernels/api/linear.h"

#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

struct LinearContext::State {};

LinearContext::LinearContext() : state_(std::make_unique<State>()) {}
LinearContext::~LinearContext() = default;
void LinearContext::SetWorkspace(void* /*workspace*/) {}
int64_t LinearContext::product_count() const { return 0; }

template <typename T>
absl::Status LinearForward(LinearContext& /*context*/, const LinearForwardArgs<T>& /*args*/,
                           Stream /*stream*/) {
  return Absent("LinearForward");
}
template <typename T>
absl::Status LinearLogits(LinearContext& /*context*/, const LinearLogitsArgs<T>& /*args*/,
                          Stream /*stream*/) {
  return Absent("LinearLogits");
}
template <typename T>
absl::Status LinearBackwardInput(LinearContext& /*context*/,
                                 const LinearBackwardInputArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("LinearBackwardInput");
}
template <typename T>
absl::Status LinearBackwardWeight(LinearContext& /*context*/,
                                  const LinearBackwardWeightArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("LinearBackwardWeight");
}

template <typename T>
absl::Status LinearActivationForward(LinearContext& /*context*/,
                                     const LinearActivationForwardArgs<T>& /*args*/,
                                     Stream /*stream*/) {
  return Absent("LinearActivationForward");
}
template <typename T>
absl::Status LinearActivationBackward(LinearContext& /*context*/,
                                      const LinearActivationBackwardArgs<T>& /*args*/,
                                      Stream /*stream*/) {
  return Absent("LinearActivationBackward");
}

#define SLUICE_INSTANTIATE_LINEAR(T)                                                             \
  template absl::Status LinearForward(LinearContext&, const LinearForwardArgs<T>&, Stream);      \
  template absl::Status LinearLogits(LinearContext&, const LinearLogitsArgs<T>&, Stream);        \
  template absl::Status LinearBackwardInput(LinearContext&, const LinearBackwardInputArgs<T>&,   \
                                            Stream);                                             \
  template absl::Status LinearBackwardWeight(LinearContext&, const LinearBackwardWeightArgs<T>&, \
                                             Stream);                                            \
  template absl::Status LinearActivationForward(LinearContext&,                                  \
                                                const LinearActivationForwardArgs<T>&, Stream);  \
  template absl::Status LinearActivationBackward(LinearContext&,                                 \
                                                 const LinearActivationBackwardArgs<T>&, Stream)
SLUICE_INSTANTIATE_LINEAR(float);
SLUICE_INSTANTIATE_LINEAR(bf16);
SLUICE_INSTANTIATE_LINEAR(fp16);
#undef SLUICE_INSTANTIATE_LINEAR

}  // namespace sluice::cuda
