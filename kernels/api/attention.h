// Softmax attention with masks, dropout and a gate, for every head of a batch, without a T×T matrix
// in memory for more than the tile at hand.
//
//   s[i, j] = ⟨q_i, k_j⟩ · scale, or -infinity where j is masked for i   (scale = 1/sqrt(D))
//   p[i, ·] = softmax_j s[i, ·]
//   p̃       = p · dropout mask · dropout scale
//   GateSite::kNone:   out_i = Σ_j p̃[i, j] v_j
//   GateSite::kQuery:  out_i = gate[i, h] · Σ_j p̃[i, j] v_j    (arXiv 2510.09017, eq. 17)
//   GateSite::kKey:    out_i = Σ_j p̃[i, j] gate[j, h] v_j      (ibid. eq. 4)
//
// A query with every key masked (padding) gives out_i = 0, log_sum_exp = -infinity and no gradient.
// Results do not depend on the number of threads: every sum has one order.
//
//   cpu::AttentionForward<bf16>({.q = qkv, .k = qkv + H * D, .v = qkv + 2 * H * D, .gate = gate,
//                                .out = out, .log_sum_exp = saved, .B = B, .T_ = T, .H = H, .D = D,
//                                .qkv_stride = 3 * H * D, .scale = scale,
//                                .gate_site = GateSite::kQuery, .mask = {.causal = true},
//                                .dropout = dropout, .workspace = workspace});
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "kernels/api/dropout.h"

namespace sluice {

enum class GateSite { kNone, kQuery, kKey };

// Which keys a query sees; the parts combine by "and". Tiles without a visible pair are skipped,
// not computed and dropped.
struct AttentionMask {
  bool causal = false;                 // j <= i
  const int32_t* lengths = nullptr;    // (B) or null: in row b, tokens at and after lengths[b] are
                                       // padding: neither seen nor seeing
  const int32_t* documents = nullptr;  // (B, T) or null: tokens see each other only where these are
                                       // equal; values never fall within a row
};

template <typename T>
struct AttentionForwardArgs {
  const T* q;  // element (b, t, h, d) at ((b·T + t) · qkv_stride) + h·D + d; the same for k and v
  const T* k;
  const T* v;
  const Accumulator<T>* gate;  // (B, T, H); null if and only if gate_site is kNone
  T* out;                      // (B, T, H, D) contiguous, overwritten
  Accumulator<T>*
      log_sum_exp;  // (B, H, T), overwritten, saved for backward; null: no backward will follow
  int64_t B, T_, H, D;
  int64_t qkv_stride;  // elements from one token to the next: 3·H·D when q, k, v are one packed
                       // projection
  Accumulator<T> scale;
  GateSite gate_site = GateSite::kNone;
  AttentionMask mask;
  Dropout dropout;  // rows of a sample: (h·T + i), columns: j. rows_per_sample is not read
  void* workspace;  // AttentionForwardWorkspaceBytes(...) bytes, 64-byte aligned (not read by
                    // reference)
};

//   query site: dgate[i, h] = ⟨dout_i, Σ_j p̃ v_j⟩ = Σ_j p̃[i, j] ⟨dout_i, v_j⟩, and the D_i of flash
//               attention's backward, ⟨d(ungated out)_i, ungated out_i⟩, is gate_i · dgate_i: the
//               gate's gradient costs nothing.
//   key site:   with dw = p̃ᵀ dout: dv_j = gate_j dw_j, dgate[j, h] = ⟨dw_j, v_j⟩.
// The probabilities are computed again from log_sum_exp; out need not be saved.
// OVERWRITES dq, dk, dv and dgate.
template <typename T>
struct AttentionBackwardArgs {
  const T* q;  // as in forward
  const T* k;
  const T* v;
  const Accumulator<T>* gate;         // as in forward
  const Accumulator<T>* log_sum_exp;  // (B, H, T), as saved
  const T* dout;                      // (B, T, H, D) contiguous
  T* dq;                              // laid out as q: same stride
  T* dk;
  T* dv;
  Accumulator<T>* dgate;  // (B, T, H); null if and only if gate_site is kNone
  int64_t B, T_, H, D;
  int64_t qkv_stride;
  Accumulator<T> scale;
  GateSite gate_site = GateSite::kNone;
  AttentionMask mask;
  Dropout dropout;
  void* workspace;  // AttentionBackwardWorkspaceBytes(...) bytes, 64-byte aligned
};

// Scratch of the CPU kernels for `threads` workers.
int64_t AttentionForwardWorkspaceBytes(int64_t T, int64_t H, int64_t D, int threads);
int64_t AttentionBackwardWorkspaceBytes(int64_t T, int64_t H, int64_t D, int threads);

namespace reference {
void AttentionForward(const AttentionForwardArgs<double>& args);
void AttentionBackward(const AttentionBackwardArgs<double>& args);
}  // namespace reference
namespace cpu {
template <typename T>  // float, bf16
absl::Status AttentionForward(const AttentionForwardArgs<T>& args);
template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& args);
}  // namespace cpu

}  // namespace sluice
