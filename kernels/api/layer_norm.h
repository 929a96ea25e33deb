// LayerNorm over the last dimension, fused with what stands before it in a transformer block:
//
//   sum = residual + dropout(x)            (residual null: sum = dropout(x); dropout off: sum =
//   residual + x) y   = (sum - mean) · rstd · weight + bias,    rstd = 1 / sqrt(variance + eps)
//
// Ba et al. 2016 (arXiv 1607.06450); variance has divisor C and is computed in two passes (or an
// equally stable way), in Accumulator<T>. The saved `sum` is rounded to T before the statistics are
// taken, so that backward sees what forward saw.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/api/cuda_stream.h"
#include "kernels/api/dropout.h"

namespace sluice {

template <typename T>
struct LayerNormForwardArgs {
  const T* x;         // (N, C)
  const T* residual;  // (N, C) or null
  const T* weight;    // (C)
  const T* bias;      // (C)
  T* sum;  // (N, C), saved for backward; may alias x or residual; null only if residual is null and
           // dropout off
  T* y;    // (N, C)
  Accumulator<T>* mean;  // (N), saved; null when there will be no backward
  Accumulator<T>* rstd;  // (N), saved; null when there will be no backward
  int64_t N, C;
  float eps;  // no default: BERT uses 1e-12, OPT 1e-5
  Dropout dropout;
};

//   dsum = LayerNorm backward of dy (+ dsum_in when the sum goes on as a residual stream, as in
//   pre-LN blocks) dresidual = dsum;  dx = dsum · mask · scale
// OVERWRITES dsum and dx, ADDS to dweight and dbias (in an order that does not depend on the number
// of threads).
template <typename T>
struct LayerNormBackwardArgs {
  const T* dy;                 // (N, C)
  const T* dsum_in;            // (N, C) or null
  const T* sum;                // (N, C), as saved (x itself when forward's `sum` was null)
  const T* weight;             // (C)
  const Accumulator<T>* mean;  // (N)
  const Accumulator<T>* rstd;  // (N)
  T* dsum;                     // (N, C): gradient of the residual; may alias dy or dsum_in
  T* dx;                    // (N, C): gradient of x; null when dropout is off (then it equals dsum)
  Accumulator<T>* dweight;  // (C), ADDED to
  Accumulator<T>* dbias;    // (C), ADDED to
  void* workspace;  // LayerNormBackwardWorkspaceBytes(N, C) bytes, 64-byte aligned (not read by
                    // reference)
  int64_t N, C;
  Dropout dropout;
};

// Enough for fewer rows, too.
int64_t LayerNormBackwardWorkspaceBytes(int64_t N, int64_t C);

namespace reference {
void LayerNormForward(const LayerNormForwardArgs<double>& args);
void LayerNormBackward(const LayerNormBackwardArgs<double>& args);
}  // namespace reference
namespace cpu {
template <typename T>  // float, bf16
absl::Status LayerNormForward(const LayerNormForwardArgs<T>& args);
template <typename T>
absl::Status LayerNormBackward(const LayerNormBackwardArgs<T>& args);
}  // namespace cpu
// Pointers are the device's. The workspace holds partial sums by blocks of rows, which are added up
// in an order that depends on N and C alone.
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status LayerNormForward(const LayerNormForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status LayerNormBackward(const LayerNormBackwardArgs<T>& args, Stream stream);
// Enough for fewer rows, too.
int64_t LayerNormBackwardWorkspaceBytes(int64_t N, int64_t C);
}  // namespace cuda

}  // namespace sluice
