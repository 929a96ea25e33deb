// What every update rule needs: which parts of the flat buffer it touches, and whether and how far
// it goes.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

// A stretch of the flat buffer with one decay. Stretches are disjoint and in rising order; gaps
// (padding) are not touched.
struct UpdateSegment {
  int64_t begin, end;  // elements
  float weight_decay;  // 0 for biases and the like
};

// What gradients are multiplied by so that their global L2 norm is at most max_norm: 1, or max_norm
// / (norm + 1e-6) as torch.nn.utils.clip_grad_norm_ has it. max_norm 0: no clipping.
constexpr double ClippingCoefficient(double norm, double max_norm) {
  if (max_norm <= 0) return 1;
  const double coefficient = max_norm / (norm + 1e-6);
  return coefficient < 1 ? coefficient : 1;
}

// Whether and how the next update is made, as the gradient and the loss decide it.
struct UpdateDecision {
  double gradient_norm;  // global L2, scaled, before clipping
  double clipping;       // ClippingCoefficient of it
  float factor;          // clipping, rounded
  int32_t skip;          // 1 where the norm or the loss is not finite: nothing changes
};
constexpr UpdateDecision DecideUpdate(double norm, double loss, double max_norm) {
  const bool finite = norm - norm == 0 && loss - loss == 0;
  const double clipping = ClippingCoefficient(norm, max_norm);
  return {norm, clipping, static_cast<float>(clipping), finite ? 0 : 1};
}

namespace cuda {

// What only the device knows when the update is launched, so that the host need not wait for it.
struct UpdateDeviceArgs {
  int64_t elements;              // of the flat buffers: the end of the last segment or more
  const float* gradient_factor;  // (1): multiplies gradient_scale (clipping); null: 1
  const int32_t* skip;           // (1): if not 0 nothing changes, the gradient neither; null: 0
};
// DecideUpdate above, of values that only the device knows yet.
struct DecideUpdateArgs {
  const double* sum_of_squares;  // (1): of the gradient; may be &decision->gradient_norm
  const double* loss;            // (1)
  double gradient_scale, max_norm;
  UpdateDecision* decision;  // (1), overwritten
};
absl::Status DecideUpdate(const DecideUpdateArgs& args, Stream stream);

}  // namespace cuda
}  // namespace sluice
