#include "kernels/api/embedding_layer_norm.h"

#include "kernels/api/layer_norm.h"

namespace sluice::reference {

void EmbeddingLayerNorm(const EmbeddingLayerNormArgs<double>& args) {
  const int64_t rows = args.rows(), C = args.embedding.C;
  EmbeddingForward(args.embedding);
  LayerNormForward({.x = args.embedding.y,
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
                    .dropout = {}});
  if (!args.dropout.enabled()) return;
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t sample = args.dropout.sample_index[n / args.dropout.rows_per_sample];
    const int64_t row = n % args.dropout.rows_per_sample;
    for (int64_t c = 0; c < C; ++c) {
      args.y[n * C + c] *= DropoutFactor(args.dropout, sample, row, c, C);
    }
  }
}

}  // namespace sluice::reference
