// Linear layers: y = x · weightᵀ + bias, and the products of its backward. Weights lie as in
// PyTorch: (out, in), row-major. Products are summed in fp32 (reference: double).
//
// The CPU backend runs on oneDNN, but in fp32 on AVX-512: there weight gradients, and whatever
// reads a packed weight, with sums of 48 terms or more and columns that nearly fill panels of 48,
// are products of our own (kernels/cpu/transposed_product.h, packed_product.h). Primitives are
// created at the first call with a shape and kept in a LinearCache with their scratch memory;
// packed weights lie in memory of the caller. So nothing of ours is allocated once every shape has
// been seen. oneDNN's own allocations, which nobody can switch off: a few small ones a call (its
// argument tables, below 1.5 KB together), and the packing buffers of its older GEMM driver (MBs),
// which serves rows that are not adjacent (but for our own products), and everything on processors
// without AVX-512.
//
// bf16 runs on AVX-512 BF16 or AMX; on other processors through fp32 copies in scratch memory. The
// same call with the same number of threads gives the same bits.
//
// Called from one thread, outside of parallel regions. Pointers need the alignment of their type
// only; N may be 0 (nothing is read; the backward products add nothing). Null pointers and strides
// that are too small are CHECKed; errors are kDevice, when oneDNN or memory fails.
//
//   cpu::LinearCache cache;  // one per ExecutionContext
//   PackedWeight packed;     // one per weight
//   packed.forward = arena.Allocate(cpu::PackedForwardBytes<bf16>(cache, rows, K, M), 64);
//   RETURN_IF_ERROR(cpu::LinearForward<bf16>(cache, {.x = x, .weight = w, .bias = b, .y = y,
//       .N = N, .K = K, .M = M, .x_stride = K, .y_stride = M, .packed = &packed}));
//   … the optimizer changes w …
//   packed.forward_is_current = packed.backward_input_is_current = false;
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "kernels/api/activation.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

// A weight re-laid in the order that the product likes, once per update instead of once per
// call. Owned by the layer; its memory is planned by PackedForwardBytes and
// PackedBackwardInputBytes, 64-byte aligned. Null pointers: the library reads the plain weight.
//
// The flags are set by the kernel when it has packed. Whoever changes the weight clears them: a
// call with a stale flag computes with the old weight, and nothing can notice. One PackedWeight
// serves one weight, one T and one cache. Where the library cannot read its own layout (rows of x,
// y, dy or dx that are not adjacent) the plain weight is used; our own products read theirs always.
struct PackedWeight {
  void* forward = nullptr;         // for x · Wᵀ: LinearForward and LinearLogits
  void* backward_input = nullptr;  // for dy · W
  bool forward_is_current = false;
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

// dweight += dyᵀ · x;  dbias += Σ_n dy[n]. Both ADDED to, in fp32. The bits of dbias do not depend
// on the number of threads; nor do those of dweight where the CPU backend uses its own product
// (LinearBackwardWeightWorkspaceBytes > 0).
template <typename T>
struct LinearBackwardWeightArgs {
  const T* x;               // (N, K), rows x_stride apart
  const T* dy;              // (N, M), rows dy_stride apart
  Accumulator<T>* dweight;  // (M, K)
  Accumulator<T>* dbias;    // (M) or null
  int64_t N, K, M;
  int64_t x_stride, dy_stride;
  void* workspace = nullptr;  // LinearBackwardWeightWorkspaceBytes, 64-byte aligned; null: the
                              // cache's scratch memory. CUDA does not read it
};

// logits = x · weightᵀ + bias with fp32 output whatever T is: the vocabulary projection, gates.
template <typename T>
struct LinearLogitsArgs {
  const T* x;              // (N, K), rows x_stride apart
  const T* weight;         // (M, K)
  const T* bias;           // (M) or null
  Accumulator<T>* logits;  // (N, M), rows logits_stride apart, overwritten
  int64_t N, K, M;
  PackedWeight* packed = nullptr;
  int64_t x_stride = 0, logits_stride = 0;  // elements; 0: rows are adjacent
};

// y = f(x · weightᵀ + bias), where CUDA does both at once.
template <typename T>
struct LinearActivationForwardArgs {
  LinearForwardArgs<T> linear;  // its y is f's output; y_stride = M
  T* pre_activation;  // (N, M): f's input, for backward; null for relu, whose slope can be
                      // told from y
  Activation activation;
};

// The way back through the layer that reads y, and f: dpre = (dy · weight) ∘ f'(pre), with that
// layer's dy and weight, and dbias += Σ_n dpre[n], the bias before f, ADDED to.
template <typename T>
struct LinearActivationBackwardArgs {
  LinearBackwardInputArgs<T> next;  // its dx is dpre; dx_stride = K, not accumulated
  const T* saved;                   // (N, K): pre_activation; relu: y
  Accumulator<T>* dbias;            // (K) or null
  Activation activation;
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
  int64_t primitive_count() const;  // made so far; constant once every shape has been seen
  int64_t scratch_bytes() const;    // held now; grows only at the first call with a shape

 private:
  std::unique_ptr<State> state_;
};

// Bytes that PackedWeight::forward or ::backward_input needs for a weight (M, K) of type T through
// which N rows pass between two updates (rows of a call times calls, micro-batches included);
// 0: packing does not pay for so few rows or on this processor, leave the pointer null. The layout
// does not depend on N, so calls of any size may share it.
template <typename T>
int64_t PackedForwardBytes(LinearCache& cache, int64_t N, int64_t K, int64_t M);
template <typename T>
int64_t PackedBackwardInputBytes(LinearCache& cache, int64_t N, int64_t K, int64_t M);

// Bytes of LinearBackwardWeightArgs::workspace for any N, on the caller's compute threads; 0:
// oneDNN runs, in memory of the cache.
template <typename T>
int64_t LinearBackwardWeightWorkspaceBytes(int64_t K, int64_t M);

template <typename T>  // float, bf16
absl::Status LinearForward(LinearCache& cache, const LinearForwardArgs<T>& args);
template <typename T>
absl::Status LinearBackwardInput(LinearCache& cache, const LinearBackwardInputArgs<T>& args);
template <typename T>
absl::Status LinearBackwardWeight(LinearCache& cache, const LinearBackwardWeightArgs<T>& args);
template <typename T>
absl::Status LinearLogits(LinearCache& cache, const LinearLogitsArgs<T>& args);

}  // namespace cpu
namespace cuda {

// cuBLASLt's handle, and its descriptions and choice of an algorithm for each product seen so far.
// Nothing is made before the first call, so one exists where there is no device. One per
// ExecutionContext; not thread-safe.
class LinearContext {
 public:
  LinearContext();
  ~LinearContext();
  LinearContext(const LinearContext&) = delete;
  LinearContext& operator=(const LinearContext&) = delete;

  // kLinearWorkspaceBytes of the device's memory, 256-byte aligned, before the first call: for the
  // library's split sums and for the bias gradient's.
  void SetWorkspace(void* workspace);
  int64_t product_count() const;  // described so far; constant once every shape has been seen

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};
inline constexpr int64_t kLinearWorkspaceBytes = int64_t{32} << 20;

// Products on cuBLASLt, in the library's fp32 (no tf32); the bias is its epilogue, but for logits
// of 16-bit operands, whose bias it would want in fp32: there logits begin as the bias. `packed` is
// not read. The bias gradient is summed in one order. Errors: kDevice, with the library's reason.
template <typename T>  // float, bf16, fp16
absl::Status LinearForward(LinearContext& context, const LinearForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status LinearBackwardInput(LinearContext& context, const LinearBackwardInputArgs<T>& args,
                                 Stream stream);
template <typename T>
absl::Status LinearBackwardWeight(LinearContext& context, const LinearBackwardWeightArgs<T>& args,
                                  Stream stream);
template <typename T>
absl::Status LinearLogits(LinearContext& context, const LinearLogitsArgs<T>& args, Stream stream);

// Linear layer and activation at once. relu and gelu_tanh are the library's epilogues, where it has
// an algorithm for the shape (asked once); its relu may turn NaN into 0. The others, and what it
// has none for, are a product and a kernel; the bias gradient is then summed by the kernel that
// multiplies by f'. Bits depend on which, so on the shape and how it is aligned, but not on the
// run.
template <typename T>
absl::Status LinearActivationForward(LinearContext& context,
                                     const LinearActivationForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status LinearActivationBackward(LinearContext& context,
                                      const LinearActivationBackwardArgs<T>& args, Stream stream);

}  // namespace cuda
}  // namespace sluice
