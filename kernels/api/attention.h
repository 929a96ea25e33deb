// Softmax attention with masks, dropout, a gate and its rivals, for every head of a batch, without
// a T×T matrix in memory for more than the tile at hand.
//
//   s[i, j] = ⟨q_i, k_j⟩ · scale, or -infinity where j is masked for i   (scale = 1/sqrt(D))
//   p[i, ·] = softmax_j s[i, ·]                                          (SoftmaxSink, sink_key)
//             or max(s[i, j], 0) / n_i, n_i the keys that i sees (AttentionWeights::kRelu)
//   p'      = p, or clip((zeta - gamma) · p + gamma, 0, 1)               (ClippedSoftmax)
//   p̃       = p' · dropout mask · dropout scale
//   GateSite::kNone:   out_i = Σ_j p̃[i, j] v_j
//   GateSite::kQuery:  out_i = gate[i, h] · Σ_j p̃[i, j] v_j    (arXiv 2510.09017, eq. 17)
//   GateSite::kKey:    out_i = Σ_j p̃[i, j] gate[j, h] v_j      (ibid. eq. 4)
// A gate is one number a head, or with gate_per_channel one for each of a head's D channels, which
// then multiplies elementwise. All of these combine; everything but plain attention is off by
// default, and what is off changes no bit.
//
// The sink token (sink_key, sink_value): one learned key and value per head, put before the keys of
// every row and seen by every query that sees anything. It is j = -1 in the formulas above; its
// gate at the key site is 1. Its dropout column is 0, token j's is j + 1, of T + 1 columns.
//
// A query with every key masked (padding) gives out_i = 0, log_sum_exp = -infinity and no gradient.
// What lies in padding (lengths) may be anything. Between that, values of one document that are not
// finite may reach another through products of whole tiles, which multiply them by zero.
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
#include "kernels/api/cuda_stream.h"
#include "kernels/api/dropout.h"

namespace sluice {

// kRelu: Guo et al., arXiv 2410.13835: weights need not sum to 1, so nothing has to be put on a
// sink. Neither clipped nor with a logit in a denominator; with all else.
enum class AttentionWeights { kSoftmax, kRelu };

enum class GateSite { kNone, kQuery, kKey };

// A logit that joins every softmax's denominator and carries no value, so that a row's
// probabilities may sum to less than 1.
enum class SoftmaxSink {
  kNone,
  kZero,   // the logit is 0: softmax plus one
  kLogit,  // one learned logit a head
};

// p' = clip((zeta - gamma) · p + gamma, 0, 1) for visible pairs; masked ones stay 0 (Bondarenko et
// al., arXiv 2306.12929, section 4.1). A row's p' need not sum to 1. gamma <= 0 and zeta >= 1.
struct ClippedSoftmax {
  float gamma = 0, zeta = 1;
  bool enabled() const { return gamma != 0 || zeta != 1; }
};

// Which keys a query sees; the parts combine by "and". Tiles without a visible pair are skipped,
// not computed and dropped.
struct AttentionMask {
  bool causal = false;                 // j <= i
  const int32_t* lengths = nullptr;    // (B) or null: in row b, tokens at and after lengths[b] are
                                       // padding: neither seen nor seeing. Registers count
  const int32_t* documents = nullptr;  // (B, T) or null: tokens see each other only where these are
                                       // equal; values never fall within a row. Not read where a
                                       // register stands
  // The first `registers` tokens of every row are registers: every query that is not padding sees
  // them, whatever its document and, among registers, whatever its place. What registers see
  // besides each other: without documents what an ordinary token in their place sees (all tokens;
  // causal: none), with documents nothing, so that they carry nothing from one to the other.
  int64_t registers = 0;
};

template <typename T>
struct AttentionForwardArgs {
  const T* q;  // element (b, t, h, d) at ((b·T + t) · qkv_stride) + h·D + d; the same for k and v
  const T* k;
  const T* v;
  const Accumulator<T>* gate;  // (B, T, H), or (B, T, H, D) with gate_per_channel; null if and only
                               // if gate_site is kNone
  T* out;                      // (B, T, H, D) contiguous, overwritten
  Accumulator<T>*
      log_sum_exp;  // (B, H, T), overwritten, saved for backward: of the whole denominator, sink
                    // logit and sink token included; kRelu: ln n_i; null: no backward will follow
  int64_t B, T_, H, D;
  int64_t qkv_stride;  // elements from one token to the next: 3·H·D when q, k, v are one packed
                       // projection
  Accumulator<T> scale;
  GateSite gate_site = GateSite::kNone;
  bool gate_per_channel = false;
  AttentionWeights weights = AttentionWeights::kSoftmax;
  ClippedSoftmax clip = {};
  SoftmaxSink sink = SoftmaxSink::kNone;
  const T* sink_logit = nullptr;  // (H); null if and only if sink is not kLogit
  const T* sink_key = nullptr;    // (H, D), or null: no sink token
  const T* sink_value = nullptr;  // (H, D); null if and only if sink_key is
  AttentionMask mask;
  Dropout dropout;  // rows of a sample: (h·T + i), columns: j (see above where there is a sink
                    // token). rows_per_sample is not read
  void* workspace;  // AttentionForwardWorkspaceBytes(...) bytes, 64-byte aligned (not read by
                    // reference)
};

//   query site: dgate[i, h] = ⟨dout_i, Σ_j p̃ v_j⟩ = Σ_j p̃[i, j] ⟨dout_i, v_j⟩, of what backward
//               has anyway; out_i / gate_i would be lost where the gate is shut. A gate per
//               channel: dgate[i, h, d] = dout[i, d] · Σ_j p̃ v[j, d], one more product.
//   key site:   with dw = p̃ᵀ dout: dv_j = gate_j dw_j, dgate[j, h] = ⟨dw_j, v_j⟩, or without the
//               sum over channels.
//   clipping:   dp = (zeta - gamma) · dp' where 0 <= (zeta - gamma) · p + gamma <= 1, else 0.
//   ReLU:       ds[i, j] = dp / n_i where s[i, j] > 0, else 0.
//   scores:     ds[i, j] = p (dp - D_i), D_i = Σ_j p dp. Unless the softmax is clipped,
//               D_i = ⟨dout_i, out_i⟩: with gates at either site, dropout and sinks.
//   sink:       the logit's is -p_sink · D_i, summed over the batch and its queries;
//               p_sink = exp(logit - log_sum_exp).
// The probabilities are computed again from log_sum_exp.
// OVERWRITES dq, dk, dv and dgate; ADDS to dsink_logit, dsink_key and dsink_value.
template <typename T>
struct AttentionBackwardArgs {
  const T* q;  // as in forward
  const T* k;
  const T* v;
  const Accumulator<T>* gate;  // as in forward
  const T* out;                // (B, T, H, D), as forward wrote it. CUDA's D_i comes from it;
                               // reference and CPU have Σ_j p dp at hand and do not read it
  const Accumulator<T>* log_sum_exp;  // (B, H, T), as saved
  const T* dout;                      // (B, T, H, D) contiguous
  T* dq;                              // laid out as q: same stride
  T* dk;
  T* dv;
  Accumulator<T>* dgate;  // as gate; null if and only if gate_site is kNone
  int64_t B, T_, H, D;
  int64_t qkv_stride;
  Accumulator<T> scale;
  GateSite gate_site = GateSite::kNone;
  bool gate_per_channel = false;
  AttentionWeights weights = AttentionWeights::kSoftmax;
  ClippedSoftmax clip = {};
  SoftmaxSink sink = SoftmaxSink::kNone;
  const T* sink_logit = nullptr;  // as in forward
  const T* sink_key = nullptr;
  const T* sink_value = nullptr;
  Accumulator<T>* dsink_logit = nullptr;  // (H); null if and only if sink_logit is
  Accumulator<T>* dsink_key = nullptr;    // (H, D); null if and only if sink_key is
  Accumulator<T>* dsink_value = nullptr;  // (H, D); null if and only if sink_value is
  AttentionMask mask;
  Dropout dropout;
  void* workspace;  // AttentionBackwardWorkspaceBytes(...) bytes, 64-byte aligned
};

// Scratch of the CPU kernels for `threads` workers, enough for every variant. Backward: sink_batch
// is B where there is a learned sink logit or a sink token (each row's part of its gradient is kept
// until all are added up in order), else 0.
int64_t AttentionForwardWorkspaceBytes(int64_t T, int64_t H, int64_t D, int threads);
int64_t AttentionBackwardWorkspaceBytes(int64_t T, int64_t H, int64_t D, int threads,
                                        int64_t sink_batch = 0);

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
namespace cuda {
// Head sizes up to 256, else DeviceError. Workspaces are aligned to 256 bytes.
int64_t AttentionForwardWorkspaceBytes(int64_t B, int64_t T, int64_t H, int64_t D);
int64_t AttentionBackwardWorkspaceBytes(int64_t B, int64_t T, int64_t H, int64_t D);
template <typename T>  // float, bf16, fp16
absl::Status AttentionForward(const AttentionForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& args, Stream stream);
}  // namespace cuda

}  // namespace sluice
