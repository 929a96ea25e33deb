// The gate of gated attention (value-state gated attention: arXiv 2510.09017, Appendix B, eq. 16):
//   gate[n, h] = σ( ⟨source[n], weight[h]⟩ + bias[h] )
// source is the whole value row of token n, all heads concatenated (VGA), or the attention module's
// input (IGA). One gate a token and head. Kept in Accumulator<T>: it multiplies sums that are kept
// so.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"

namespace sluice {

template <typename T>
struct AttentionGateForwardArgs {
  const T* source;  // (N, C), rows source_stride apart (3·C when it is the V part of a packed QKV)
  const T* weight;  // (H, C)
  const T* bias;    // (H) or null
  Accumulator<T>* gate;  // (N, H), overwritten: σ of the logits, saved for backward
  int64_t N, C, H;
  int64_t source_stride;
};

//   du = dgate · gate · (1 - gate)
//   dsource[n] += Σ_h du[n, h] · weight[h]     (dV already holds attention's part)
//   dweight[h] += Σ_n du[n, h] · source[n]
//   dbias[h]   += Σ_n du[n, h]
// ADDS to all three, each sum in one order whatever the number of threads.
template <typename T>
struct AttentionGateBackwardArgs {
  const T* source;              // (N, C), rows source_stride apart
  const T* weight;              // (H, C)
  const Accumulator<T>* gate;   // (N, H)
  const Accumulator<T>* dgate;  // (N, H)
  T* dsource;                   // (N, C), rows dsource_stride apart
  Accumulator<T>* dweight;      // (H, C)
  Accumulator<T>* dbias;        // (H) or null
  void* workspace;  // AttentionGateBackwardWorkspaceBytes(N, C, H) bytes, 64-byte aligned
  int64_t N, C, H;
  int64_t source_stride, dsource_stride;
};

int64_t AttentionGateBackwardWorkspaceBytes(int64_t N, int64_t C, int64_t H);

namespace reference {
void AttentionGateForward(const AttentionGateForwardArgs<double>& args);
void AttentionGateBackward(const AttentionGateBackwardArgs<double>& args);
}  // namespace reference
namespace cpu {
template <typename T>  // float, bf16
absl::Status AttentionGateForward(const AttentionGateForwardArgs<T>& args);
template <typename T>
absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<T>& args);
}  // namespace cpu

}  // namespace sluice
