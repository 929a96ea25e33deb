// The three kernels one after the other: a row of the sum is in a cache between them, and what is
// saved by less traffic is nothing beside a step.
#include "kernels/api/embedding_layer_norm.h"

#include "core/status.h"
#include "kernels/api/layer_norm.h"

namespace sluice::cpu {

template <typename T>
absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<T>& args) {
  const int64_t rows = args.rows(), C = args.embedding.C;
  RETURN_IF_ERROR(EmbeddingForward(args.embedding));
  RETURN_IF_ERROR(LayerNormForward(LayerNormForwardArgs<T>{.x = args.embedding.y,
                                                           .residual = nullptr,
                                                           .weight = args.weight,
                                                           .bias = args.bias,
                                                           .sum = nullptr,
                                                           .y = args.y,
                                                           .mean = args.mean,
                                                           .rstd = args.rstd,
                                                           .N = rows,
                                                           .C = C,
                                                           .eps = args.eps,
                                                           .dropout = {}}));
  if (!args.dropout.enabled()) return absl::OkStatus();
  return DropoutForward(
      DropoutArgs<T>{.x = args.y, .y = args.y, .N = rows, .C = C, .dropout = args.dropout});
}

template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<float>& args);
template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<bf16>& args);

}  // namespace sluice::cpu
