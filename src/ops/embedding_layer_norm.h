// Sum of embeddings, its LayerNorm and dropout at once; formula in
// kernels/api/embedding_layer_norm.h. The backward is embedding.h's and layer_norm.h's.
#pragma once

#include "absl/status/status.h"
#include "kernels/api/dropout.h"
#include "ops/embedding.h"
#include "ops/execution_context.h"

namespace sluice::ops {

struct EmbeddingLayerNorm {
  EmbeddingForward embedding;  // its y is the sum (B·(R + T), C), saved
  TensorView weight, bias;     // (C)
  TensorView y;                // (B·(R + T), C), overwritten
  TensorView mean, rstd;       // (B·(R + T)), saved; null when there will be no backward
  float eps;
  Dropout dropout = {};  // of y
};
absl::Status Run(ExecutionContext& context, const EmbeddingLayerNorm& call);

}  // namespace sluice::ops
