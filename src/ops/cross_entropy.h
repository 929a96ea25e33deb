// Summed cross-entropy over a vocabulary and its gradient; formulas in kernels/api/cross_entropy.h.
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct CrossEntropy {
  TensorView logits;   // (M, V), accumulator dtype
  TensorView targets;  // (M) int32; negative: ignored
  TensorView dlogits;  // (M, V), overwritten; null: loss only; may be the logits' memory where the
                       // dtypes are equal
  double gradient_scale = 1;  // dlogits is multiplied by this; the loss is not
  double* loss_sum;           // ADDED to; memory of the device, as the counts are
  int64_t* target_count;      // ADDED to
  int64_t* correct_count;     // ADDED to; or null
  DType dtype;                // the model's: selects the kernel also when dlogits is null
};
absl::Status Run(ExecutionContext& context, const CrossEntropy& call);

// Planning: scratch for M rows.
void PlanCrossEntropy(ExecutionContext& context, int64_t M);

}  // namespace sluice::ops
