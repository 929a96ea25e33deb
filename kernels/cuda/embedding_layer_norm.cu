// Sum of embeddings, its LayerNorm (layer_norm_rows.cuh) and dropout, in one pass: rows of the
// tables are read, the sum and y written. Roundings to T are where three kernels would have them.
#include "kernels/api/embedding_layer_norm.h"

#include "core/check.h"
#include "kernels/cuda/embedding_rows.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/layer_norm_rows.cuh"
#include "kernels/cuda/row_dropout.cuh"

namespace sluice::cuda {
namespace {

template <typename T, int kWidth, int kTiles>
__global__ void __launch_bounds__(MostNormWarps(kTiles) * kWarpSize,
                                  LeastNormBlocks(kWidth, kTiles))
    EmbeddingLayerNormKernel(EmbeddingLayerNormArgs<T> args, DropoutParameters dropout, int64_t N,
                             int warps_per_row) {
  const int64_t C = args.embedding.C;
  T* const sum = args.embedding.y;
  const NormRows<T> rows = {.sum = sum,
                            .weight = args.weight,
                            .bias = args.bias,
                            .y = args.y,
                            .mean = args.mean,
                            .rstd = args.rstd,
                            .N = N,
                            .C = C,
                            .eps = args.eps};
  const int64_t n = NormRow(warps_per_row);
  EmbeddingRows<T> parts;
  if (n < N) parts = EmbeddingRows<T>(args.embedding, n);
  NormalizeRow<kWidth, kTiles>(
      rows, n, warps_per_row,
      [&](float(&value)[kTileValues], int64_t column) {
        parts.template SumTile<kWidth>(column, C, value);
        RoundTile<T>(value);
        StoreTile<kWidth>(value, column, C, sum + n * C);
      },
      [&](float(&value)[kTileValues], int64_t column) {
        if (!dropout.enabled()) return;
        RoundTile<T>(value);
        DropOutTile<kWidth>(dropout, n, column, C, value);
      });
}

}  // namespace

template <typename T>
absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<T>& args, Stream stream) {
  const EmbeddingForwardArgs<T>& embedding = args.embedding;
  const int64_t rows = CheckedEmbeddingRows(embedding);
  if (args.dropout.enabled()) CHECK_GE(args.dropout.rows_per_sample, 1);
  const NormLaunch launch = PlanNormLaunch<T>(
      embedding.C, {embedding.token_table, embedding.projected, embedding.position_table,
                    embedding.segment_table, embedding.register_table, embedding.y, args.weight,
                    args.bias, args.y});
  auto* const kernel = !launch.fit  ? EmbeddingLayerNormKernel<T, 1, 1>
                       : launch.few ? EmbeddingLayerNormKernel<T, kVectorWidth<T>, 1>
                                    : EmbeddingLayerNormKernel<T, kVectorWidth<T>, kMostNormTiles>;
  return Launch("embedding_layer_norm", kernel, launch.Shape(rows, stream), args,
                MakeDropoutParameters(args.dropout), rows, launch.warps_per_row);
}

template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<float>& args, Stream stream);
template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<bf16>& args, Stream stream);
template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
