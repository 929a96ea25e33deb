// Cross-entropy over a vocabulary, summed, in natural units (nats):
//   loss_sum = Σ_m [target_m >= 0] · ( logsumexp_v(logits[m, v]) - logits[m, target_m] )
// and, in the same pass over the logits, its gradient:
//   dlogits[m, v] = gradient_scale · ( softmax(logits[m])_v - [v = target_m] ),
// zero in rows without a target. The mean is taken by the optimizer, which knows the count over all
// ranks and micro-batches.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

template <typename T>
struct CrossEntropyArgs {
  const Accumulator<T>* logits;  // (M, V): fp32 also when T is bf16
  const int32_t* targets;        // (M), in [0, V) or negative: ignored
  T* dlogits;  // (M, V), overwritten; null: loss only. May share memory with logits only as
               // kernel-defined in place: dlogits == reinterpret_cast<T*>(logits) is allowed when T
               // is as wide as Accumulator<T>; a bf16 dlogits has memory of its own
  double* loss_sum;        // one value, ADDED to
  int64_t* target_count;   // one value, ADDED to: rows with a target
  int64_t* correct_count;  // one value or null, ADDED to: rows whose largest logit is the target's
                           // (ties: lowest v)
  Accumulator<T>* row_loss;       // (M) or null, overwritten: each row's loss, 0 where ignored
  Accumulator<T> gradient_scale;  // dlogits is multiplied by this (loss scaling, weights of several
                                  // losses); losses are not
  int64_t M, V;
  void* workspace = nullptr;  // cuda: CrossEntropyWorkspaceBytes(M) bytes, 64-byte aligned; others
                              // do not read it
};

namespace reference {
void CrossEntropy(const CrossEntropyArgs<double>& args);
}
namespace cpu {
template <typename T>  // float, bf16
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args);
}
// Pointers are the device's, also those of loss_sum and the counts. Rows are added up in an order
// that depends on M alone.
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args, Stream stream);
int64_t CrossEntropyWorkspaceBytes(int64_t M);
}  // namespace cuda

}  // namespace sluice
