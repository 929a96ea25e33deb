// What one call of attention is, as kernels see it: kernels/api/attention.h's arguments by value,
// and which of the keys a query sees. Keys are counted with the sink token, when there is one, as
// number 0: key = token + sink_tokens. So the sink is a row of the first key tile like any other.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "kernels/api/attention.h"

namespace sluice::cuda {

// Everything uniform; it lies in the constant bank of parameters.
template <typename T>
struct AttentionProblem {
  const T* q;  // (B, T, H, D) at qkv_stride
  const T* k;
  const T* v;
  const float* gate;    // (B, T, H) or (B, T, H, D)
  const T* sink_logit;  // (H)
  const T* sink_key;    // (H, D)
  const T* sink_value;  // (H, D)
  int64_t qkv_stride;
  int B, T_, H, D;
  int sink_tokens;  // 0 or 1
  // The second times log2(e), so that scores are exponents of two; rectified: the scale, scores are
  // what they are.
  float scale, scale_of_two;
  GateSite gate_site;
  bool per_channel;
  bool rectified;  // no softmax: p = max(s, 0) / n, n the keys that the query sees
  bool clipped;
  float gamma, stretch;  // p' = clip(stretch · p + gamma, 0, 1)
  SoftmaxSink sink;
  bool causal;
  const int32_t* lengths;    // (B)
  const int32_t* documents;  // (B, T)
  int registers;
  bool drops;
  uint32_t drop_threshold;
  float kept_scale;
  PhiloxKey drop_key;
  const int64_t* sample_index;  // (B)
  bool vector_qkv;              // rows of q, k, v and of the sinks begin at multiples of 16 bytes

  __device__ int keys() const { return T_ + sink_tokens; }
  __device__ bool GatesQueries() const { return gate_site == GateSite::kQuery; }
  __device__ bool GatesKeys() const { return gate_site == GateSite::kKey; }
  // Element 0 of head h of token t of row b in q, k and v.
  __device__ int64_t TokenOffset(int b, int t, int h) const {
    return (static_cast<int64_t>(b) * T_ + t) * qkv_stride + static_cast<int64_t>(h) * D;
  }
  // (b, t, h) in (B, T, H) and, times D, in (B, T, H, D).
  __device__ int64_t HeadIndex(int b, int t, int h) const {
    return (static_cast<int64_t>(b) * T_ + t) * H + h;
  }
  // (b, h, t) in (B, H, T).
  __device__ int64_t RowIndex(int b, int h, int t) const {
    return (static_cast<int64_t>(b) * H + h) * T_ + t;
  }
};

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.69314718055994530942f;

inline bool IsMultipleOf16Bytes(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

// The part that forward and backward have in common.
template <typename T, typename Args>
AttentionProblem<T> DescribeProblem(const Args& args) {
  const auto row_bytes = [](int64_t elements) {
    return elements * static_cast<int64_t>(sizeof(T));
  };
  const bool drops = args.dropout.enabled();
  return {
      .q = args.q,
      .k = args.k,
      .v = args.v,
      .gate = args.gate,
      .sink_logit = args.sink_logit,
      .sink_key = args.sink_key,
      .sink_value = args.sink_value,
      .qkv_stride = args.qkv_stride,
      .B = static_cast<int>(args.B),
      .T_ = static_cast<int>(args.T_),
      .H = static_cast<int>(args.H),
      .D = static_cast<int>(args.D),
      .sink_tokens = args.sink_key == nullptr ? 0 : 1,
      .scale = args.scale,
      .scale_of_two = args.weights == AttentionWeights::kRelu ? args.scale : args.scale * kLog2E,
      .gate_site = args.gate_site,
      .per_channel = args.gate_per_channel,
      .rectified = args.weights == AttentionWeights::kRelu,
      .clipped = args.clip.enabled(),
      .gamma = args.clip.gamma,
      .stretch = args.clip.zeta - args.clip.gamma,
      .sink = args.sink,
      .causal = args.mask.causal,
      .lengths = args.mask.lengths,
      .documents = args.mask.documents,
      .registers = static_cast<int>(args.mask.registers),
      .drops = drops,
      .drop_threshold = drops ? args.dropout.threshold() : 0,
      .kept_scale = drops ? args.dropout.scale() : 1,
      .drop_key = args.dropout.key,
      .sample_index = args.dropout.sample_index,
      .vector_qkv = IsMultipleOf16Bytes(args.q) && IsMultipleOf16Bytes(args.k) &&
                    IsMultipleOf16Bytes(args.v) && IsMultipleOf16Bytes(args.sink_key) &&
                    IsMultipleOf16Bytes(args.sink_value) && row_bytes(args.D) % 16 == 0 &&
                    row_bytes(args.qkv_stride) % 16 == 0,
  };
}

enum class TileView {
  kNothing,  // no pair of the tile is visible: it is skipped
  kSome,     // pairs have to be asked for one by one
  kAll,
};

// Which pairs of row b are visible.
class RowMask {
 public:
  template <typename T>
  __device__ RowMask(const AttentionProblem<T>& problem, int b)
      : documents_(problem.documents == nullptr
                       ? nullptr
                       : problem.documents + static_cast<int64_t>(b) * problem.T_),
        length_(problem.T_),
        sink_tokens_(problem.sink_tokens),
        causal_(problem.causal) {
    if (problem.lengths != nullptr) length_ = max(0, min(problem.lengths[b], length_));
    registers_ = min(problem.registers, length_);
  }

  // Tokens before padding, and keys.
  __device__ int length() const { return length_; }
  __device__ int keys() const { return length_ + sink_tokens_; }

  __device__ __forceinline__ bool Sees(int i, int key) const {
    const int j = key - sink_tokens_;
    if (i >= length_ || j >= length_) return false;
    if (j < registers_) return true;  // the sink token as well: j is -1
    if (causal_ && j > i) return false;
    if (documents_ == nullptr) return true;
    return i >= registers_ && documents_[i] == documents_[j];
  }

  // Of queries [i0, i0 + queries) and keys [key0, key0 + keys). Documents never fall within a row,
  // so those of a tile are an interval.
  __device__ TileView View(int i0, int queries, int key0, int keys) const {
    const int i1 = min(i0 + queries, length_);
    const int j0 = key0 - sink_tokens_, j1 = min(j0 + keys, length_);
    if (i0 >= i1 || j0 >= j1) return TileView::kNothing;
    const bool whole = i1 == i0 + queries && j1 == j0 + keys;
    if (j1 <= registers_) return whole ? TileView::kAll : TileView::kSome;
    const bool shared = j0 < registers_;
    if (causal_ && !shared && j0 >= i1) return TileView::kNothing;
    bool all = whole && (!causal_ || j1 - 1 <= i0);
    if (documents_ != nullptr) {
      const int from = max(i0, registers_);  // the first query that is in a document
      if (!shared && (from >= i1 || documents_[from] > documents_[j1 - 1] ||
                      documents_[i1 - 1] < documents_[j0])) {
        return TileView::kNothing;
      }
      all = all && !shared && from == i0 && documents_[i0] == documents_[i1 - 1] &&
            documents_[j0] == documents_[j1 - 1] && documents_[i0] == documents_[j0];
    }
    return all ? TileView::kAll : TileView::kSome;
  }

 private:
  const int32_t* documents_;  // (T) or null
  int length_, registers_, sink_tokens_;
  bool causal_;
};

}  // namespace sluice::cuda
