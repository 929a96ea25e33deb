// Sum of embeddings: a warp writes a row of y.
#include "kernels/api/embedding.h"

#include "core/integer_math.h"
#include "kernels/cuda/embedding_rows.cuh"
#include "kernels/cuda/launch.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;  // rows of a block

template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    EmbeddingForwardKernel(EmbeddingForwardArgs<T> args, int64_t rows) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex();
  if (row >= rows) return;
  const EmbeddingRows<T> parts(args, row);
  T* y = args.y + row * args.C;
  for (int64_t column = 0; column < args.C; column += kTileColumns) {
    float sum[kTileValues];
    parts.template SumTile<kWidth>(column, args.C, sum);
    StoreTile<kWidth>(sum, column, args.C, y);
  }
}

}  // namespace

template <typename T>
absl::Status EmbeddingForward(const EmbeddingForwardArgs<T>& args, Stream stream) {
  const int64_t rows = CheckedEmbeddingRows(args);
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
