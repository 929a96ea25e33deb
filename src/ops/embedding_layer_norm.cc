#include "ops/embedding_layer_norm.h"

#include "kernels/api/embedding_layer_norm.h"
#include "ops/dispatch.h"
#include "ops/embedding_arguments.h"

namespace sluice::ops {

absl::Status Run(ExecutionContext& context, const EmbeddingLayerNorm& call) {
  const TensorView& sum = call.embedding.y;
  CheckEmbedding(call.embedding);
  CHECK_EQ(call.y.elements(), sum.elements());
  CHECK_EQ(call.weight.elements(), sum.dim(-1));
  CHECK_EQ(call.bias.elements(), sum.dim(-1));
  return Dispatch(
      context, "embedding_layer_norm", sum.dtype(),
      [&]<typename T>() {
        return EmbeddingLayerNormArgs<T>{.embedding = EmbeddingArguments<T>(call.embedding),
                                         .weight = call.weight.as<T>(),
                                         .bias = call.bias.as<T>(),
                                         .y = call.y.as<T>(),
                                         .mean = call.mean.as<Accumulator<T>>(),
                                         .rstd = call.rstd.as<Accumulator<T>>(),
                                         .eps = call.eps,
                                         .dropout = call.dropout};
      },
      SLUICE_KERNELS(EmbeddingLayerNorm));
}

}  // namespace sluice::ops
