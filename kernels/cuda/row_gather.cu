// Copies of whole rows, a warp each. Only the size of what is copied matters, not its type.
#include "kernels/api/row_gather.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "core/integer_math.h"
#include "kernels/cuda/device_primitives.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 8;  // a block

struct CopyRowsArgs {
  const void* from;     // (N, units) for a gather, (M, units) for a scatter
  const int32_t* rows;  // (M)
  void* to;             // (M, units) for a gather, (N, units) for a scatter
  int64_t N, M;
  int64_t units;  // a row
  bool scatter;
};

template <typename Unit>
__global__ void __launch_bounds__(kWarps* kWarpSize) CopyRowsKernel(CopyRowsArgs args) {
  const int64_t m = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize;
  if (m >= args.M) return;
  const int64_t row = args.rows[m];
  if (row >= args.N) __trap();
  if (args.scatter && row < 0) return;
  const auto* from = static_cast<const Unit*>(args.from) + (args.scatter ? m : row) * args.units;
  auto* to = static_cast<Unit*>(args.to) + (args.scatter ? row : m) * args.units;
  for (int64_t i = threadIdx.x % kWarpSize; i < args.units; i += kWarpSize) {
    to[i] = row < 0 ? Unit{} : from[i];
  }
}

// `row_bytes` of `element_bytes` each; args.units is set here.
absl::Status CopyRows(const char* name, CopyRowsArgs args, int64_t row_bytes, int element_bytes,
                      Stream stream) {
  const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(CeilDiv(args.M, kWarps))),
                             .block = dim3(kWarps * kWarpSize),
                             .stream = stream};
  if (row_bytes % kVectorBytes == 0 && AreAligned({args.from, args.to})) {
    args.units = row_bytes / kVectorBytes;
    return Launch(name, CopyRowsKernel<uint4>, shape, args);
  }
  args.units = row_bytes / element_bytes;
  return element_bytes == 4 ? Launch(name, CopyRowsKernel<uint32_t>, shape, args)
                            : Launch(name, CopyRowsKernel<uint16_t>, shape, args);
}

}  // namespace

template <typename T>
absl::Status RowGather(const RowGatherArgs<T>& args, Stream stream) {
  return CopyRows("row gather", {args.x, args.rows, args.y, args.N, args.M, 0, false},
                  args.C * static_cast<int64_t>(sizeof(T)), sizeof(T), stream);
}

template <typename T>
absl::Status RowScatter(const RowScatterArgs<T>& args, Stream stream) {
  return CopyRows("row scatter", {args.dy, args.rows, args.dx, args.N, args.M, 0, true},
                  args.C * static_cast<int64_t>(sizeof(T)), sizeof(T), stream);
}

template absl::Status RowGather(const RowGatherArgs<float>& args, Stream stream);
template absl::Status RowGather(const RowGatherArgs<bf16>& args, Stream stream);
template absl::Status RowGather(const RowGatherArgs<fp16>& args, Stream stream);
template absl::Status RowScatter(const RowScatterArgs<float>& args, Stream stream);
template absl::Status RowScatter(const RowScatterArgs<bf16>& args, Stream stream);
template absl::Status RowScatter(const RowScatterArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
