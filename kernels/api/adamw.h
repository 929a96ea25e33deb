// AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2) over one flat buffer, fused with
// unscaling, clipping, the rounding to working weights and the zeroing of the gradient. For each
// element, with g = gradient · gradient_scale:
//   m = β1 m + (1 - β1) g;   v = β2 v + (1 - β2) g²
//   w = w - lr · weight_decay · w - lr · (m / (1 - β1^t)) / (sqrt(v / (1 - β2^t)) + eps)
// The same formula as torch.optim.AdamW: decay is decoupled and not multiplied by the bias
// corrections.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "kernels/api/cuda_stream.h"
#include "kernels/api/parameter_update.h"

namespace sluice {

template <typename T>  // T: type of the working weights
struct AdamWArgs {
  Accumulator<T>* master;    // (n), updated
  Accumulator<T>* gradient;  // (n), read, then set to zero
  Accumulator<T>* m;         // (n), updated
  Accumulator<T>* v;         // (n), updated
  T* working;  // (n), overwritten with the rounded master; null when T is the master's own type
  const UpdateSegment* segments;
  int64_t segment_count;
  float gradient_scale;  // 1 / (targets of the global batch) · clipping coefficient (· 1 / loss
                         // scale)
  float learning_rate, beta1, beta2, eps;
  int64_t t;  // updates done, this one included: 1, 2, …
};

namespace reference {
void AdamW(const AdamWArgs<double>& args);
}
namespace cpu {
template <typename T>  // float, bf16
absl::Status AdamW(const AdamWArgs<T>& args);
}
namespace cuda {
template <typename T>  // float, bf16, fp16; args.segments is on the device too
absl::Status AdamW(const AdamWArgs<T>& args, const UpdateDeviceArgs& device, Stream stream);
}  // namespace cuda

}  // namespace sluice
