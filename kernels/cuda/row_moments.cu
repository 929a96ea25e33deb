// A warp for each row, which it reads twice, and a thread for each channel of a group. Both read
// neighbouring values at once, and add them up in an order that depends on the shape alone.
#include "kernels/api/row_moments.h"

#include "core/integer_math.h"
#include "core/status.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/storage.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;

template <typename T>
__global__ void __launch_bounds__(kThreads) RowMomentsKernel(const RowMomentsArgs<T> args) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex();
  if (n >= args.N) return;
  const T* row = args.x + n * args.row_stride;
  double sum = 0;
  float largest = 0;
  for (int64_t c = LaneIndex(); c < args.C; c += kWarpSize) {
    const float x = ToFloat(row[c]);
    sum += static_cast<double>(x);
    largest = fmaxf(largest, fabsf(x));
  }
  const double mean = WarpSum(sum) / static_cast<double>(args.C);
  largest = WarpMax(largest);
  double second = 0, third = 0, fourth = 0;
  for (int64_t c = LaneIndex(); c < args.C; c += kWarpSize) {
    const double d = static_cast<double>(ToFloat(row[c])) - mean, square = d * d;
    second += square;
    third += square * d;
    fourth += square * square;
  }
  second = WarpSum(second);
  third = WarpSum(third);
  fourth = WarpSum(fourth);
  if (LaneIndex() != 0) return;
  RowMomentSums& moments = args.moments[n];
  moments.largest = mean != mean ? mean : static_cast<double>(largest);
  moments.mean = mean;
  moments.second = second;
  moments.third = third;
  moments.fourth = fourth;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) ChannelSquaresKernel(const RowMomentsArgs<T> args) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (c >= args.C) return;
  const int64_t group = blockIdx.y;
  const T* x = args.x + group * args.group * args.row_stride + c;
  double sum = 0;
#pragma unroll 4
  for (int64_t n = 0; n < args.group; ++n) {
    const double value = ToFloat(x[n * args.row_stride]);
    sum += value * value;
  }
  args.squares[group * args.C + c] = sum;
}

}  // namespace

template <typename T>
absl::Status RowMoments(const RowMomentsArgs<T>& args, Stream stream) {
  RETURN_IF_ERROR(Launch("row moments", RowMomentsKernel<T>,
                         {.grid = dim3(static_cast<unsigned>(CeilDiv(args.N, int64_t{kWarps}))),
                          .block = dim3(kThreads),
                          .stream = stream},
                         args));
  return Launch("channel squares", ChannelSquaresKernel<T>,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(args.C, int64_t{kThreads})),
                              static_cast<unsigned>(args.N / args.group)),
                 .block = dim3(kThreads),
                 .stream = stream},
                args);
}

template absl::Status RowMoments(const RowMomentsArgs<float>& args, Stream stream);
template absl::Status RowMoments(const RowMomentsArgs<bf16>& args, Stream stream);
template absl::Status RowMoments(const RowMomentsArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
