// Stochastic gradient descent with momentum over one flat buffer, fused like kernels/api/adamw.h.
// For each element:
//   g = gradient · gradient_scale + weight_decay · w
//   b = momentum · b + g;   w = w - lr · b
// The formula of torch.optim.SGD without dampening and Nesterov: decay is part of the gradient,
// behind the clipping. With b = 0 at first, as here, the first update is torch's too.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "kernels/api/cuda_stream.h"
#include "kernels/api/parameter_update.h"

namespace sluice {

template <typename T>  // T: type of the working weights
struct SgdArgs {
  Accumulator<T>* master;           // (n), updated
  Accumulator<T>* gradient;         // (n), read, then set to zero
  Accumulator<T>* momentum_buffer;  // (n), b above, updated
  T* working;  // (n), overwritten with the rounded master; null when T is the master's own type
  const UpdateSegment* segments;
  int64_t segment_count;
  float gradient_scale;  // as in AdamWArgs
  float learning_rate, momentum;
};

namespace reference {
void Sgd(const SgdArgs<double>& args);
}
namespace cpu {
template <typename T>  // float, bf16
absl::Status Sgd(const SgdArgs<T>& args);
}
namespace cuda {
template <typename T>  // float, bf16, fp16; args.segments is on the device too
absl::Status Sgd(const SgdArgs<T>& args, const UpdateDeviceArgs& device, Stream stream);
}  // namespace cuda

}  // namespace sluice
