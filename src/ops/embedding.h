// Sum of token, position and segment embeddings; formula in kernels/api/embedding.h.
#pragma once

#include "absl/status/status.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct EmbeddingForward {
  TensorView tokens;          // (B, T) int32
  TensorView segments;        // (B, T) int32 or null
  TensorView token_table;     // (V, C), or null:
  TensorView projected;       // (B·T, C) then stands in its place; else null
  TensorView position_table;  // (P, C)
  TensorView segment_table;   // (S, C) or null
  TensorView register_table;  // (R, C) or null: R = 0
  TensorView y;               // (B·(R + T), C), overwritten
  int64_t position_offset = 0;
};
absl::Status Run(ExecutionContext& context, const EmbeddingForward& call);

// Gradients of tables are ADDED to; one that is null is left out.
struct EmbeddingBackward {
  TensorView tokens, segments;  // as in forward
  TensorView dy;                // (B·(R + T), C)
  TensorView dtoken_table;      // (V, C)
  TensorView dprojected;        // (B·T, C): OVERWRITTEN
  TensorView dposition_table;   // (P, C)
  TensorView dsegment_table;    // (S, C)
  TensorView dregister_table;   // (R, C)
  int64_t position_offset = 0;
};
absl::Status Run(ExecutionContext& context, const EmbeddingBackward& call);

// The sizes of a backward: N = B·T tokens, C columns, V and S rows of the tables of tokens and
// segments.
struct EmbeddingDims {
  int64_t N, C, V, S;
};
// Planning: its scratch.
void PlanEmbedding(ExecutionContext& context, const EmbeddingDims& dims);

}  // namespace sluice::ops
