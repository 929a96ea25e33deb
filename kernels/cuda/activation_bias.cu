#include "kernels/cuda/activation_bias.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "kernels/cuda/activation_functions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 8;             // of a block: as many rows at a time
constexpr int64_t kRowsOfPart = 128;  // that a block adds up, where workspace allows it
constexpr int64_t kMostGridRows = 65535;

// Grid (tiles of 256 columns, parts): part p has rows [p · rows, (p + 1) · rows), of which a warp
// takes every 8th.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    ActivationBackwardBiasKernel(ActivationBackwardBiasArgs<T> args, int64_t rows) {
  __shared__ alignas(16) float of_warp[kWarps][kTileColumns];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kTileColumns;
  const int64_t first = blockIdx.y * rows;
  const int64_t end = first + rows < args.N ? first + rows : args.N;
  float sums[kTileValues] = {};
  for (int64_t n = first + WarpIndex(); n < end; n += kWarps) {
    float x[kTileValues], gradient[kTileValues];
    LoadTile<kWidth>(args.x + n * args.M, column, args.M, x);
    LoadTile<kWidth>(args.dx + n * args.M, column, args.M, gradient);
#pragma unroll
    for (int i = 0; i < kTileValues; ++i) {  // beyond the row: 0 · f'(0)
      gradient[i] = ToFloat(FromFloat<T>(gradient[i] * ActivationSlope(args.activation, x[i])));
      sums[i] += gradient[i];
    }
    StoreTile<kWidth>(gradient, column, args.M, args.dx + n * args.M);
  }
  StoreTileInOrder<true>(sums, of_warp[WarpIndex()]);
  __syncthreads();
  static_assert(kWarps * kWarpSize == kTileColumns);
  float sum = of_warp[0][threadIdx.x];
  for (int warp = 1; warp < kWarps; ++warp) sum += of_warp[warp][threadIdx.x];
  args.workspace[(static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * kTileColumns +
                 threadIdx.x] = sum;
}

}  // namespace

template <typename T>
absl::Status ActivationBackwardBias(const ActivationBackwardBiasArgs<T>& args, Stream stream) {
  const int64_t tiles = CeilDiv(args.M, kTileColumns);
  const int64_t values_of_part = tiles * kTileColumns;
  CHECK_GE(args.workspace_values, values_of_part);
  if (args.N == 0) return absl::OkStatus();
  const int64_t most_parts = std::min(args.workspace_values / values_of_part, kMostGridRows);
  const int64_t rows = std::max(kRowsOfPart, CeilDiv(args.N, most_parts));
  const int64_t parts = CeilDiv(args.N, rows);
  const bool fit = RowsFit<T>(kVectorWidth<T>, args.M, {args.x, args.dx});
  const absl::Status status = Launch(
      "activation backward with bias",
      fit ? ActivationBackwardBiasKernel<T, kVectorWidth<T>> : ActivationBackwardBiasKernel<T, 1>,
      {.grid = dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(parts)),
       .block = dim3(kWarps * kWarpSize),
       .stream = stream},
      args, rows);
  if (!status.ok()) return status;
  return AddPartialSums("activation backward with bias, added up",
                        {.partial = args.workspace,
                         .parts = parts,
                         .stride = values_of_part,
                         .total = {args.sums, nullptr},
                         .distance = 0,
                         .columns = args.M,
                         .width = fit ? kVectorWidth<T> : 1},
                        stream);
}

template absl::Status ActivationBackwardBias(const ActivationBackwardBiasArgs<float>&, Stream);
template absl::Status ActivationBackwardBias(const ActivationBackwardBiasArgs<bf16>&, Stream);
template absl::Status ActivationBackwardBias(const ActivationBackwardBiasArgs<fp16>&, Stream);

}  // namespace sluice::cuda
