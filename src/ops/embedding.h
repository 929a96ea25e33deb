// Sum of token, position and segment embeddings; formula in kernels/api/embedding.h.
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct EmbeddingForward {
  TensorView tokens;          // (B, T) int32
  TensorView segments;        // (B, T) int32 or null
  TensorView token_table;     // (V, C)
  TensorView position_table;  // (P, C)
  TensorView segment_table;   // (S, C) or null
  TensorView y;               // (B·T, C), overwritten
  int64_t position_offset = 0;
};
absl::Status Run(ExecutionContext& context, const EmbeddingForward& call);

struct EmbeddingBackward {
  TensorView tokens, segments;  // as in forward
  TensorView dy;                // (B·T, C)
  TensorView dtoken_table;      // (V, C), ADDED to; the others likewise
  TensorView dposition_table;   // (P, C)
  TensorView dsegment_table;    // (S, C) or null
  int64_t position_offset = 0;
};
absl::Status Run(ExecutionContext& context, const EmbeddingBackward& call);

// Planning: scratch for a backward of this size.
void PlanEmbedding(ExecutionContext& context, int64_t N, int64_t V);

}  // namespace sluice::ops
