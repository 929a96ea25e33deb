// The feed-forward activation, elementwise.
//   gelu_erf:  y = x · Φ(x) = x / 2 · (1 + erf(x / sqrt 2))             (Hendrycks and Gimpel 2016;
//   BERT's recipe) gelu_tanh: y = x / 2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 x³)))    (the
//   approximation) relu:      y = max(x, 0); derivative 0 at 0                          (OPT)
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

enum class Activation { kGeluErf, kGeluTanh, kRelu, kTanh };

template <typename T>
struct ActivationForwardArgs {
  const T* x;  // (count)
  T* y;        // (count), overwritten; may alias x
  int64_t count;
  Activation activation;
};

// dx = dy · f'(x). OVERWRITES dx, which may alias dy.
template <typename T>
struct ActivationBackwardArgs {
  const T* x;   // (count): forward's input
  const T* dy;  // (count)
  T* dx;        // (count)
  int64_t count;
  Activation activation;
};

namespace reference {
void ActivationForward(const ActivationForwardArgs<double>& args);
void ActivationBackward(const ActivationBackwardArgs<double>& args);
}  // namespace reference
namespace cpu {
template <typename T>  // float, bf16
absl::Status ActivationForward(const ActivationForwardArgs<T>& args);
template <typename T>
absl::Status ActivationBackward(const ActivationBackwardArgs<T>& args);
}  // namespace cpu
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status ActivationForward(const ActivationForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status ActivationBackward(const ActivationBackwardArgs<T>& args, Stream stream);
}  // namespace cuda

}  // namespace sluice
