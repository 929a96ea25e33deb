// y = x · mask · scale over hidden states: a warp takes 256 columns of a row.
#include "kernels/api/dropout.h"

#include "core/integer_math.h"
#include "kernels/cuda/dropout_mask.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 8;  // a block

template <typename T>
struct DropoutKernelArgs {
  const T* x;  // (N, C)
  T* y;        // (N, C)
  int64_t N, C;
  DropoutParameters dropout;
  bool aligned;  // every row begins at a multiple of 16 bytes
};

template <typename T>
__global__ void __launch_bounds__(kWarps* kWarpSize) DropoutKernel(DropoutKernelArgs<T> args) {
  constexpr int kWidth = kVectorWidth<T>;
  const int64_t chunks = (args.C + kDropoutColumns - 1) / kDropoutColumns;
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpSize;
  const int64_t n = item / chunks, begin = item % chunks * kDropoutColumns;
  if (n >= args.N) return;
  const int64_t sample = n / args.dropout.rows_per_sample;
  const WarpDropoutMask<kWidth> mask(args.dropout,
                                     static_cast<uint64_t>(args.dropout.sample_index[sample]),
                                     n - sample * args.dropout.rows_per_sample, begin, args.C);
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int pass = 0; pass < WarpDropoutMask<kWidth>::kPasses; ++pass) {
    const int64_t column = begin + (pass * kWarpSize + lane) * kWidth;
    const T* x = args.x + n * args.C + column;
    T* y = args.y + n * args.C + column;
    const uint32_t kept = mask.Pass(pass);
    if (args.aligned && column + kWidth <= args.C) {
      float values[kWidth];
      LoadFloats(x, values);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) values[k] *= (kept >> k & 1) != 0 ? args.dropout.scale : 0;
      StoreFloats(values, y);
    } else {
      for (int k = 0; k < kWidth && column + k < args.C; ++k) {
        y[k] = FromFloat<T>(ToFloat(x[k]) * ((kept >> k & 1) != 0 ? args.dropout.scale : 0));
      }
    }
  }
}

}  // namespace

template <typename T>
absl::Status DropoutForward(const DropoutArgs<T>& args, Stream stream) {
  const int64_t count = args.N * args.C;
  if (!args.dropout.enabled()) {
    if (args.x == args.y || count == 0) return absl::OkStatus();
    const cudaError_t error = cudaMemcpyAsync(
        args.y, args.x, static_cast<size_t>(count) * sizeof(T), cudaMemcpyDeviceToDevice, stream);
    if (error == cudaSuccess) return absl::OkStatus();
    return DeviceError("cannot copy on the device", absl::StrCat(count, " values"),
                       cudaGetErrorString(error));
  }
  const int64_t items = args.N * CeilDiv(args.C, kDropoutColumns);
  const bool aligned = args.C % kVectorWidth<T> == 0 && AreAligned({args.x, args.y});
  return Launch("dropout", DropoutKernel<T>,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(items, kWarps))),
                 .block = dim3(kWarps * kWarpSize),
                 .stream = stream},
                DropoutKernelArgs<T>{args.x, args.y, args.N, args.C,
                                     MakeDropoutParameters(args.dropout), aligned});
}

template absl::Status DropoutForward(const DropoutArgs<float>& args, Stream stream);
template absl::Status DropoutForward(const DropoutArgs<bf16>& args, Stream stream);
template absl::Status DropoutForward(const DropoutArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
