// LayerNorm forward (layer_norm_rows.cuh) of the residual sum, which it makes and stores.
#include "kernels/api/layer_norm.h"

#include "core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/layer_norm_rows.cuh"
#include "kernels/cuda/row_dropout.cuh"

namespace sluice::cuda {
namespace {

// residual + dropout(x), rounded to T and stored where there is a sum.
template <int kWidth, typename T>
__device__ __forceinline__ void SumTile(const LayerNormForwardArgs<T>& args,
                                        const DropoutParameters& dropout, int64_t n, int64_t column,
                                        float (&value)[kTileValues]) {
  LoadTile<kWidth>(args.x + n * args.C, column, args.C, value);
  if (args.sum == nullptr) return;
  if (dropout.enabled()) DropOutTile<kWidth>(dropout, n, column, args.C, value);
  if (args.residual != nullptr) {
    float residual[kTileValues];
    LoadTile<kWidth>(args.residual + n * args.C, column, args.C, residual);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) value[i] += residual[i];
  }
  RoundTile<T>(value);
  StoreTile<kWidth>(value, column, args.C, args.sum + n * args.C);
}

template <typename T, int kWidth, int kTiles>
__global__ void __launch_bounds__(MostNormWarps(kTiles) * kWarpSize,
                                  LeastNormBlocks(kWidth, kTiles))
    LayerNormForwardKernel(LayerNormForwardArgs<T> args, DropoutParameters dropout,
                           int warps_per_row) {
  const NormRows<T> rows = {.sum = args.sum == nullptr ? args.x : args.sum,
                            .weight = args.weight,
                            .bias = args.bias,
                            .y = args.y,
                            .mean = args.mean,
                            .rstd = args.rstd,
                            .N = args.N,
                            .C = args.C,
                            .eps = args.eps};
  const int64_t n = NormRow(warps_per_row);
  NormalizeRow<kWidth, kTiles>(
      rows, n, warps_per_row,
      [&](float(&value)[kTileValues], int64_t column) {
        SumTile<kWidth>(args, dropout, n, column, value);
      },
      [](float(&)[kTileValues], int64_t) {});
}

}  // namespace

template <typename T>
absl::Status LayerNormForward(const LayerNormForwardArgs<T>& args, Stream stream) {
  CHECK(args.sum != nullptr || (args.residual == nullptr && !args.dropout.enabled()));
  if (args.dropout.enabled()) CHECK_GE(args.dropout.rows_per_sample, 1);
  CHECK_LT(args.N, int64_t{1} << 31);
  const NormLaunch launch =
      PlanNormLaunch<T>(args.C, {args.x, args.residual, args.weight, args.bias, args.sum, args.y});
  auto* const kernel = !launch.fit  ? LayerNormForwardKernel<T, 1, 1>
                       : launch.few ? LayerNormForwardKernel<T, kVectorWidth<T>, 1>
                                    : LayerNormForwardKernel<T, kVectorWidth<T>, kMostNormTiles>;
  return Launch("layer_norm forward", kernel, launch.Shape(args.N, stream), args,
                MakeDropoutParameters(args.dropout), launch.warps_per_row);
}

template absl::Status LayerNormForward(const LayerNormForwardArgs<float>& args, Stream stream);
template absl::Status LayerNormForward(const LayerNormForwardArgs<bf16>& args, Stream stream);
template absl::Status LayerNormForward(const LayerNormForwardArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
