// Linear layers: y = x · weightᵀ + bias, and the products of its backward. Weights lie as in
// PyTorch: (out, in), row-major.
//
// The CPU backend runs on oneDNN. Primitives are created at the first call with a shape and kept in
// a LinearCache; scratch memory and packed weights come from the caller, so nothing is allocated
// once every shape has been seen.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "core/bf16.h"

namespace sluice {

// A weight re-laid in the order that the GEMM library likes, once per update instead of once per
// call. Owned by the layer; its memory is planned by PackedWeightBytes. Null everywhere: the
// library reads the plain weight.
struct PackedWeight {
  void* forward = nullptr;         // for x · Wᵀ
  void* backward_input = nullptr;  // for dy · W
  bool forward_is_current =
      false;  // set by the kernel when it has packed; cleared by the layer after an update
  bool backward_input_is_current = false;
};

template <typename T>
struct LinearForwardArgs {
  const T* x;       // (N, K), rows x_stride apart
  const T* weight;  // (M, K)
  const T* bias;    // (M) or null
  T* y;             // (N, M), rows y_stride apart, overwritten
  int64_t N, K, M;
  int64_t x_stride, y_stride;  // elements, >= K and >= M
  PackedWeight* packed = nullptr;
};

// dx = dy · weight, or dx += dy · weight.
template <typename T>
struct LinearBackwardInputArgs {
  const T* dy;      // (N, M), rows dy_stride apart
  const T* weight;  // (M, K)
  T* dx;            // (N, K), rows dx_stride apart
  bool accumulate;  // false: dx is overwritten; true: added to (sum in fp32, rounded once to T)
  int64_t N, K, M;
  int64_t dy_stride, dx_stride;
  PackedWeight* packed = nullptr;
};

// dweight += dyᵀ · x;  dbias += Σ_n dy[n]. Both ADDED to, in fp32.
template <typename T>
struct LinearBackwardWeightArgs {
  const T* x;               // (N, K), rows x_stride apart
  const T* dy;              // (N, M), rows dy_stride apart
  Accumulator<T>* dweight;  // (M, K)
  Accumulator<T>* dbias;    // (M) or null
  int64_t N, K, M;
  int64_t x_stride, dy_stride;
};

// logits = x · weightᵀ + bias with fp32 output whatever T is: the vocabulary projection.
template <typename T>
struct LinearLogitsArgs {
  const T* x;              // (N, K)
  const T* weight;         // (M, K)
  const T* bias;           // (M) or null
  Accumulator<T>* logits;  // (N, M), overwritten
  int64_t N, K, M;
  PackedWeight* packed = nullptr;
};

namespace reference {
void LinearForward(const LinearForwardArgs<double>& args);
void LinearBackwardInput(const LinearBackwardInputArgs<double>& args);
void LinearBackwardWeight(const LinearBackwardWeightArgs<double>& args);
void LinearLogits(const LinearLogitsArgs<double>& args);
}  // namespace reference

namespace cpu {

// oneDNN primitives by shape and type, and their scratch memory. One per ExecutionContext; not
// thread-safe.
class LinearCache {
 public:
  LinearCache();
  ~LinearCache();
  LinearCache(const LinearCache&) = delete;
  LinearCache& operator=(const LinearCache&) = delete;

  struct State;
  State& state() { return *state_; }
  int64_t primitive_count() const;
  int64_t scratch_bytes() const;  // high-water mark of the library's scratch memory

 private:
  std::unique_ptr<State> state_;
};

// Bytes that PackedWeight::forward or ::backward_input needs for a weight (M, K) of type T with N
// rows; 0: packing does not pay for this shape and processor, leave the pointer null.
template <typename T>
int64_t PackedForwardBytes(LinearCache& cache, int64_t N, int64_t K, int64_t M);
template <typename T>
int64_t PackedBackwardInputBytes(LinearCache& cache, int64_t N, int64_t K, int64_t M);

template <typename T>  // float, bf16
absl::Status LinearForward(LinearCache& cache, const LinearForwardArgs<T>& args);
template <typename T>
absl::Status LinearBackwardInput(LinearCache& cache, const LinearBackwardInputArgs<T>& args);
template <typename T>
absl::Status LinearBackwardWeight(LinearCache& cache, const LinearBackwardWeightArgs<T>& args);
template <typename T>
absl::Status LinearLogits(LinearCache& cache, const LinearLogitsArgs<T>& args);

}  // namespace cpu
}  // namespace sluice
