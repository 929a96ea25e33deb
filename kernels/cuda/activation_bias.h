// The activation's backward together with the gradient of the bias that was added before it: one
// pass over the values instead of two.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/activation.h"
#include "kernels/api/cuda_stream.h"

namespace sluice::cuda {

// dx[n][m] = dx[n][m] · f'(x[n][m]);  sums[m] += Σ_n dx[n][m], of the values as they are stored, in
// fp32 and one order.
template <typename T>  // float, bf16, fp16
struct ActivationBackwardBiasArgs {
  const T* x;   // (N, M): forward's input; relu: its output serves as well
  T* dx;        // (N, M): in: the gradient of f(x); out: of x
  float* sums;  // (M)
  int64_t N, M;
  Activation activation;
  float* workspace;  // room for M values, rounded up to a multiple of 256
  int64_t workspace_values;
};
template <typename T>
absl::Status ActivationBackwardBias(const ActivationBackwardBiasArgs<T>& args, Stream stream);

}  // namespace sluice::cuda
