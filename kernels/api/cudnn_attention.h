// Attention by cuDNN, as the alternative to our fused kernel: the same formulas and argument
// structs (kernels/api/attention.h) for what cuDNN's one operation can do, which is softmax
// attention, causal or full, by length. Gates stand around it:
//   query site: cuDNN's output O, then out = gate · O;  dO = gate · dout, dgate = ⟨dout, O⟩
//   key site:   cuDNN on gate · V;                      dV = gate · d(gate · V), dgate =
//   ⟨d(gate·V), V⟩
// What it cannot do, and why, is ops/attention_kernel.h's list; here that is a CHECK.
//
// Unlike our kernel's: products with V, O and dO that a gate scaled round to T once more, what lies
// in padding must be finite, and log_sum_exp of padding is not defined.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/api/attention.h"

namespace sluice::cuda {

// What there is of cuDNN for the current device.
struct CudnnFacts {
  bool built = false;          // this program has its calls
  int64_t version = 0;         // of the library: 92801 is 9.28.1
  int compute_capability = 0;  // of the device: 90 is sm_90; 0: no device answers
};
CudnnFacts ReadCudnnFacts();

// The library's handle and its plans, one for each shape that was asked for; making one takes the
// library a second. Its calls go into the stream that they are given.
class CudnnAttention {
 public:
  CudnnAttention();
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Bytes of args.workspace, 256-byte aligned. Only sizes, gate_site and mask of args are read, of
// the mask whether lengths are null. Makes the plan: DeviceError where the library has none.
template <typename T>  // bf16, fp16
absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention& context,
                                            const AttentionForwardArgs<T>& args);
template <typename T>
absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention& context,
                                            const AttentionBackwardArgs<T>& args);

// ungated: O (B, T, H, D), overwritten, saved for backward. Gated at the query site it is memory of
// its own, else args.out.
template <typename T>
absl::Status CudnnAttentionForward(CudnnAttention& context, const AttentionForwardArgs<T>& args,
                                   T* ungated, Stream stream);
// The same bits for the same inputs: the plan is a deterministic one.
template <typename T>
absl::Status CudnnAttentionBackward(CudnnAttention& context, const AttentionBackwardArgs<T>& args,
                                    const T* ungated, Stream stream);

}  // namespace sluice::cuda
