// Sum of embeddings: a warp writes a row of y.
#include "kernels/api/embedding.h"

#include "core/check.h"
#include "core/integer_math.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;  // rows of a block

template <int kWidth, typename T>
__device__ __forceinline__ void AddRow(const T* row, int64_t column, int64_t C,
                                       float (&sum)[kTileValues]) {
  float value[kTileValues];
  LoadTile<kWidth>(row, column, C, value);
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) sum[i] += value[i];
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    EmbeddingForwardKernel(EmbeddingForwardArgs<T> args, int64_t rows) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex();
  if (row >= rows) return;
  const auto length = static_cast<uint32_t>(args.R + args.T_);
  const int64_t b = static_cast<uint32_t>(row) / length, i = static_cast<uint32_t>(row) % length;
  const int64_t t = i - args.R, n = b * args.T_ + t;
  T* y = args.y + row * args.C;
  const T* first = nullptr;  // what the others are added to
  const T* position = nullptr;
  const T* segment = nullptr;
  if (i < args.R) {
    first = args.register_table + i * args.C;
  } else {
    first = args.token_table != nullptr ? args.token_table + args.tokens[n] * args.C
                                        : args.projected + n * args.C;
    position = args.position_table + (args.position_offset + t) * args.C;
    if (args.segment_table != nullptr) {
      segment = args.segment_table + (args.segments == nullptr ? 0 : args.segments[n]) * args.C;
    }
  }
  for (int64_t column = 0; column < args.C; column += kTileColumns) {
    float sum[kTileValues];
    LoadTile<kWidth>(first, column, args.C, sum);
    if (position != nullptr) AddRow<kWidth>(position, column, args.C, sum);
    if (segment != nullptr) AddRow<kWidth>(segment, column, args.C, sum);
    StoreTile<kWidth>(sum, column, args.C, y);
  }
}

}  // namespace

template <typename T>
absl::Status EmbeddingForward(const EmbeddingForwardArgs<T>& args, Stream stream) {
  CHECK_EQ(args.token_table == nullptr, args.projected != nullptr);
  CHECK_EQ(args.register_table == nullptr, args.R == 0);
  const int64_t rows = args.N / args.T_ * (args.R + args.T_);
  CHECK_LT(rows, int64_t{1} << 31);
  const bool fit = RowsFit<T>(kVectorWidth<T>, args.C,
                              {args.token_table, args.projected, args.position_table,
                               args.segment_table, args.register_table, args.y});
  return Launch("embedding forward",
                fit ? EmbeddingForwardKernel<T, kVectorWidth<T>> : EmbeddingForwardKernel<T, 1>,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(rows, kWarps))),
                 .block = dim3(kWarps * kWarpSize),
                 .stream = stream},
                args, rows);
}

template absl::Status EmbeddingForward(const EmbeddingForwardArgs<float>& args, Stream stream);
template absl::Status EmbeddingForward(const EmbeddingForwardArgs<bf16>& args, Stream stream);
template absl::Status EmbeddingForward(const EmbeddingForwardArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
