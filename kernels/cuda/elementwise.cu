// Whole-buffer passes: Σ x², conversions, additions, zeros.
#include "kernels/api/elementwise.h"

#include <algorithm>

#include "core/integer_math.h"
#include "core/status.h"
#include "kernels/cuda/device_primitives.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostBlocks = 1024;             // of the first stage of a sum
constexpr int64_t kLeastBlockValues = 16384;  // of it

// How many values each block of a sum takes: a function of the count alone, so that the order of
// additions is too.
int64_t BlockValues(int64_t count) {
  return std::max(kLeastBlockValues, RoundUp(CeilDiv(count, kMostBlocks), kThreads * 8));
}

// Stage 1: sums[b] = Σ x², or Σ (x - minus)², over block b's values. Squares of floats are exact in
// double.
template <typename T, bool kDifference>
__global__ void __launch_bounds__(kThreads)
    SumOfSquaresKernel(const T* x, const T* minus, int64_t count, int64_t block_values,
                       bool aligned, double* sums) {
  constexpr int kWidth = kVectorWidth<T>;
  __shared__ double scratch[kThreads / kWarpSize];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * block_values;
  const int64_t end = begin + block_values < count ? begin + block_values : count;
  const int64_t vectors_end = aligned ? begin + (end - begin) / kWidth * kWidth : begin;
  double sum = 0;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * kWidth; i < vectors_end;
       i += kThreads * kWidth) {
    float values[kWidth], others[kWidth];
    LoadFloats(x + i, values);
    if constexpr (kDifference) LoadFloats(minus + i, others);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      double value = values[k];
      if constexpr (kDifference) value -= others[k];
      sum += value * value;
    }
  }
  for (int64_t i = vectors_end + threadIdx.x; i < end; i += kThreads) {
    double value = ToFloat(x[i]);
    if constexpr (kDifference) value -= ToFloat(minus[i]);
    sum += value * value;
  }
  sum = BlockSum(sum, scratch);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Stage 2: one block.
__global__ void __launch_bounds__(kThreads)
    SumKernel(const double* sums, int count, double* total) {
  __shared__ double scratch[kThreads / kWarpSize];
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = BlockSum(sum, scratch);
  if (threadIdx.x == 0) *total = sum;
}

// Values a thread converts or adds: what 16 bytes hold of the wider type.
template <typename From, typename To>
constexpr int kSharedWidth = std::min(kVectorWidth<From>, kVectorWidth<To>);

template <typename From, typename To>
__global__ void __launch_bounds__(kThreads)
    ConvertKernel(const From* x, To* y, int64_t count, bool aligned) {
  ForEachVectorOfBlock<kSharedWidth<From, To>>(count, aligned, [&](int64_t i, auto width) {
    float values[decltype(width)::kValue];
    LoadFloats(x + i, values);
    StoreFloats(values, y + i);
  });
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    AddKernel(const T* x, T* y, int64_t count, bool aligned) {
  ForEachVectorOfBlock<kVectorWidth<T>>(count, aligned, [&](int64_t i, auto width) {
    constexpr int kWidth = decltype(width)::kValue;
    float values[kWidth], sums[kWidth];
    LoadFloats(x + i, values);
    LoadFloats(y + i, sums);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums[k] += values[k];
    StoreFloats(sums, y + i);
  });
}

LaunchShape OverValues(int64_t count, int width, Stream stream) {
  return {.grid = dim3(static_cast<unsigned>(CeilDiv(count, int64_t{kThreads} * width))),
          .block = dim3(kThreads),
          .stream = stream};
}

}  // namespace

int64_t SumOfSquaresWorkspaceBytes() { return kMostBlocks * static_cast<int64_t>(sizeof(double)); }

template <typename T>
absl::Status SumOfSquares(const SumOfSquaresArgs<T>& args, Stream stream) {
  const int64_t block_values = BlockValues(args.count);
  const auto blocks = static_cast<unsigned>(CeilDiv(args.count, block_values));
  auto* sums = static_cast<double*>(args.workspace);
  const bool aligned = AreAligned({args.x, args.minus});  // null is
  const auto kernel =
      args.minus == nullptr ? SumOfSquaresKernel<T, false> : SumOfSquaresKernel<T, true>;
  RETURN_IF_ERROR(Launch("sum of squares", kernel,
                         {.grid = dim3(blocks), .block = dim3(kThreads), .stream = stream}, args.x,
                         args.minus, args.count, block_values, aligned, sums));
  return Launch("sum of squares, second stage", SumKernel,
                {.grid = dim3(1), .block = dim3(kThreads), .stream = stream}, sums,
                static_cast<int>(blocks), args.sum);
}

template <typename From, typename To>
absl::Status Convert(const From* x, To* y, int64_t count, Stream stream) {
  constexpr int kWidth = kSharedWidth<From, To>;
  const bool aligned =
      AreAligned({x}, sizeof(From) * kWidth) && AreAligned({y}, sizeof(To) * kWidth);
  return Launch("convert", ConvertKernel<From, To>, OverValues(count, kWidth, stream), x, y, count,
                aligned);
}

template <typename T>
absl::Status AddInPlace(const T* x, T* y, int64_t count, Stream stream) {
  return Launch("add in place", AddKernel<T>, OverValues(count, kVectorWidth<T>, stream), x, y,
                count, AreAligned({x, y}));
}

absl::Status ZeroFill(void* memory, int64_t bytes, Stream stream) {
  if (bytes == 0) return absl::OkStatus();
  const cudaError_t error = cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream);
  if (error == cudaSuccess) return absl::OkStatus();
  return DeviceError("cannot fill memory with zeros", absl::StrCat(bytes, " bytes"),
                     cudaGetErrorString(error));
}

absl::Status Copy(const void* from, void* to, int64_t bytes, Stream stream) {
  if (bytes == 0) return absl::OkStatus();
  const cudaError_t error =
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream);
  if (error == cudaSuccess) return absl::OkStatus();
  return DeviceError("cannot copy within a GPU's memory", absl::StrCat(bytes, " bytes"),
                     cudaGetErrorString(error));
}

template absl::Status SumOfSquares(const SumOfSquaresArgs<float>& args, Stream stream);
template absl::Status SumOfSquares(const SumOfSquaresArgs<bf16>& args, Stream stream);
template absl::Status SumOfSquares(const SumOfSquaresArgs<fp16>& args, Stream stream);
template absl::Status Convert(const float* x, bf16* y, int64_t count, Stream stream);
template absl::Status Convert(const bf16* x, float* y, int64_t count, Stream stream);
template absl::Status Convert(const float* x, fp16* y, int64_t count, Stream stream);
template absl::Status Convert(const fp16* x, float* y, int64_t count, Stream stream);
template absl::Status AddInPlace(const float* x, float* y, int64_t count, Stream stream);
template absl::Status AddInPlace(const bf16* x, bf16* y, int64_t count, Stream stream);
template absl::Status AddInPlace(const fp16* x, fp16* y, int64_t count, Stream stream);

}  // namespace sluice::cuda
