#include "kernels/cuda/linear_bias.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.cuh"
#include "kernels/cuda/storage.cuh"

namespace sluice::cuda {
namespace {

constexpr int kRowsOfBlock = 8;       // side by side
constexpr int64_t kRowsOfPart = 128;  // that a block adds up, where workspace allows it
constexpr int64_t kMostGridRows = 65535;

// Block (32, 8), grid (columns / 32, parts): part p adds rows [p · rows, (p + 1) · rows).
template <typename T>
__global__ void __launch_bounds__(kWarpSize* kRowsOfBlock)
    ColumnSumsKernel(ColumnSumsArgs<T> args, int64_t rows) {
  __shared__ float of_row[kRowsOfBlock][kWarpSize];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarpSize + threadIdx.x;
  const int64_t first = blockIdx.y * rows;
  const int64_t end = first + rows < args.N ? first + rows : args.N;
  float sum = 0;
  if (column < args.M) {
#pragma unroll 4
    for (int64_t n = first + threadIdx.y; n < end; n += kRowsOfBlock) {
      sum += ToFloat(args.matrix[n * args.stride + column]);
    }
  }
  of_row[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= args.M) return;
  for (int row = 1; row < kRowsOfBlock; ++row) sum += of_row[row][threadIdx.x];
  args.workspace[blockIdx.y * args.M + column] = sum;
}

constexpr int kSpreadThreads = 256;

// Grid (columns / 256, rows).
template <typename T>
__global__ void __launch_bounds__(kSpreadThreads) SpreadBiasKernel(SpreadBiasArgs<T> args) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.M) return;
  const float value = ToFloat(args.bias[column]);
  for (int64_t n = blockIdx.y; n < args.N; n += gridDim.y) {
    args.rows[n * args.stride + column] = value;
  }
}

}  // namespace

template <typename T>
absl::Status AddColumnSums(const ColumnSumsArgs<T>& args, Stream stream) {
  CHECK_GE(args.workspace_values, args.M);
  if (args.N == 0) return absl::OkStatus();
  const int64_t most_parts = std::min(args.workspace_values / args.M, kMostGridRows);
  const int64_t rows = std::max(kRowsOfPart, CeilDiv(args.N, most_parts));
  const int64_t parts = CeilDiv(args.N, rows);
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.M, kWarpSize)), static_cast<unsigned>(parts));
  const absl::Status status =
      Launch("column sums", ColumnSumsKernel<T>,
             {.grid = grid, .block = dim3(kWarpSize, kRowsOfBlock), .stream = stream}, args, rows);
  if (!status.ok()) return status;
  return AddPartialSums("column sums, added up",
                        {.partial = args.workspace,
                         .parts = parts,
                         .stride = args.M,
                         .total = {args.sums, nullptr},
                         .distance = 0,
                         .columns = args.M},
                        stream);
}

template <typename T>
absl::Status SpreadBias(const SpreadBiasArgs<T>& args, Stream stream) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.M, kSpreadThreads)),
                  static_cast<unsigned>(std::min(args.N, kMostGridRows)));
  return Launch("spread bias", SpreadBiasKernel<T>,
                {.grid = grid, .block = dim3(kSpreadThreads), .stream = stream}, args);
}

template absl::Status AddColumnSums(const ColumnSumsArgs<float>&, Stream);
template absl::Status AddColumnSums(const ColumnSumsArgs<bf16>&, Stream);
template absl::Status AddColumnSums(const ColumnSumsArgs<fp16>&, Stream);
template absl::Status SpreadBias(const SpreadBiasArgs<bf16>&, Stream);
template absl::Status SpreadBias(const SpreadBiasArgs<fp16>&, Stream);

}  // namespace sluice::cuda
