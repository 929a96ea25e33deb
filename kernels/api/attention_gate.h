// The gate of gated attention (value-state gated attention: arXiv 2510.09017, Appendix B, eq. 16):
//   gate[n, h] = scale · σ( steepness · ( ⟨source[n], weight[h]⟩ + bias[h] ) )
// source is the whole value row of token n, all heads concatenated (VGA), or the attention module's
// input (IGA). One gate a token and head. With per_head_slice the gate of head h looks at the D = C
// / H features h·D … h·D + D - 1 of the source only (Bondarenko et al., arXiv 2306.12929, section
// 4.2). With C = 0 there is no source and no weight: a free number a head. Kept in Accumulator<T>:
// it multiplies sums that are kept so. steepness and scale are 1 in the papers' gates.
//
// One gate a channel has as many logits as the source has features: they are a matrix product
// (kernels/api/linear.h), and only what is elementwise is here: GateSigmoid.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

// From a logit to a gate: scale · σ(steepness · logit), between 0 and scale; both are above 0. Of a
// gate its slope is steepness · gate · (1 - gate / scale).
template <typename A>
struct GateCurve {
  A steepness = 1;  // 1 / temperature
  A scale = 1;
};

template <typename T>
struct AttentionGateForwardArgs {
  const T* source;  // (N, C), rows source_stride apart (3·C when it is the V part of a packed QKV)
  const T* weight;  // (H, C), or (H, C / H) with per_head_slice
  const T* bias;    // (H) or null
  Accumulator<T>* gate;  // (N, H), overwritten; saved for backward
  int64_t N, C, H;
  int64_t source_stride;
  bool per_head_slice = false;  // H must divide C
  GateCurve<Accumulator<T>> curve = {};
};

//   du = dgate · steepness · gate · (1 - gate / scale)
//   dsource[n] += Σ_h du[n, h] · weight[h]     (dV already holds attention's part)
//   dweight[h] += Σ_n du[n, h] · source[n]
//   dbias[h]   += Σ_n du[n, h]
// per_head_slice: the same, each head on its slice of source and dsource.
// ADDS to all three, each sum in one order whatever the number of threads.
template <typename T>
struct AttentionGateBackwardArgs {
  const T* source;              // (N, C), rows source_stride apart
  const T* weight;              // as in forward
  const Accumulator<T>* gate;   // (N, H)
  const Accumulator<T>* dgate;  // (N, H)
  T* dsource;                   // (N, C), rows dsource_stride apart
  Accumulator<T>* dweight;      // as weight
  Accumulator<T>* dbias;        // (H) or null
  void* workspace;  // AttentionGateBackwardWorkspaceBytes(N, C, H) bytes, 64-byte aligned
  int64_t N, C, H;
  int64_t source_stride, dsource_stride;
  bool per_head_slice = false;
  GateCurve<Accumulator<T>> curve = {};
};

// Enough for fewer rows, too.
int64_t AttentionGateBackwardWorkspaceBytes(int64_t N, int64_t C, int64_t H);

// gate = scale · σ(steepness · gate), in place: logits become gates.
template <typename T>
struct GateSigmoidForwardArgs {
  Accumulator<T>* gate;  // (count): logits, overwritten
  int64_t count;
  GateCurve<Accumulator<T>> curve = {};
};

// dlogits = dgate · steepness · gate · (1 - gate / scale), rounded to T: the right side of matrix
// products.
template <typename T>
struct GateSigmoidBackwardArgs {
  const Accumulator<T>* gate;   // (count)
  const Accumulator<T>* dgate;  // (count)
  T* dlogits;                   // (count), overwritten
  int64_t count;
  GateCurve<Accumulator<T>> curve = {};
};

namespace reference {
void AttentionGateForward(const AttentionGateForwardArgs<double>& args);
void AttentionGateBackward(const AttentionGateBackwardArgs<double>& args);
void GateSigmoidForward(const GateSigmoidForwardArgs<double>& args);
void GateSigmoidBackward(const GateSigmoidBackwardArgs<double>& args);
}  // namespace reference
namespace cpu {
template <typename T>  // float, bf16
absl::Status AttentionGateForward(const AttentionGateForwardArgs<T>& args);
template <typename T>
absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<T>& args);
template <typename T>
absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<T>& args);
template <typename T>
absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<T>& args);
}  // namespace cpu
// Pointers are the device's. Sums over tokens are partial sums by blocks of tokens, added up in an
// order that depends on N, C and H alone.
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status AttentionGateForward(const AttentionGateForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<T>& args, Stream stream);
// Enough for fewer rows, too.
int64_t AttentionGateBackwardWorkspaceBytes(int64_t N, int64_t C, int64_t H);
template <typename T>
absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<T>& args, Stream stream);
}  // namespace cuda

}  // namespace sluice
