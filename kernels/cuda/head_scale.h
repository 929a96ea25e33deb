// What stands beside cuDNN's attention, which knows no gates: heads times their gates, with the
// backward, and rows of padding set to zero. Head sizes are multiples of 8, at most 256, and every
// address is a multiple of 16 bytes, as cuDNN wants it too.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/cuda_stream.h"

namespace sluice::cuda {

// y[b, t, h, d] = gate · x[b, t, h, d], rounded to T; 0 in padding.
template <typename T>  // bf16, fp16
struct ScaleHeadsArgs {
  const T* x;              // element (b, t, h, d) at (b·T + t) · x_stride + h·D + d
  const float* gate;       // (B, T, H), or (B, T, H, D) with per_channel
  T* y;                    // overwritten; may be x where the strides are equal
  const int32_t* lengths;  // (B) or null: rows of b at and after lengths[b] are padding
  int64_t B, T_, H, D;
  int64_t x_stride, y_stride;  // elements from one token to the next
  bool per_channel;
};
template <typename T>
absl::Status ScaleHeads(const ScaleHeadsArgs<T>& args, Stream stream);

// dx = gate · dy, rounded to T; dgate = Σ_d dy · x, or without the sum per channel. 0 in padding.
template <typename T>
struct ScaleHeadsBackwardArgs {
  const T* dy;
  const T* x;
  const float* gate;  // as in forward
  T* dx;              // overwritten; may be dy where the strides are equal
  float* dgate;       // as gate, overwritten
  const int32_t* lengths;
  int64_t B, T_, H, D;
  int64_t dy_stride, x_stride, dx_stride;
  bool per_channel;
};
template <typename T>
absl::Status ScaleHeadsBackward(const ScaleHeadsBackwardArgs<T>& args, Stream stream);

// x[b, t, 0 … columns - 1] = 0 for t >= lengths[b].
template <typename T>
struct ZeroPaddingArgs {
  T* x;
  const int32_t* lengths;
  int64_t B, T_, columns, stride;
};
template <typename T>
absl::Status ZeroPadding(const ZeroPaddingArgs<T>& args, Stream stream);

}  // namespace sluice::cuda
