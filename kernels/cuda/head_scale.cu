// A vector of 8 values a thread. A head is a group of neighbouring lanes, as many as its vectors
// rounded up to a power of two, so a head's sum stays within a warp and has one order.
#include "kernels/cuda/head_scale.h"

#include "core/integer_math.h"
#include "kernels/cuda/device_primitives.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWidth = 8;  // values a thread

// Where a thread works.
struct Place {
  bool inside;     // of the head, and of the tensor
  bool padding;    // its token is
  int64_t token;   // b·T + t
  int64_t head;    // token·H + h
  int64_t column;  // h·D + d of its first value
  int d;
};

template <typename Args>
__device__ __forceinline__ Place PlaceOfThread(const Args& args, int lanes) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t head = thread / lanes;
  const int d = static_cast<int>(thread % lanes) * kWidth;
  const int64_t token = head / args.H;
  const bool inside = d < args.D && token < args.B * args.T_;
  const bool padding =
      inside && args.lengths != nullptr && token % args.T_ >= args.lengths[token / args.T_];
  return {inside, padding, token, head, head % args.H * args.D + d, d};
}

// The gates of the place's values.
template <typename Args>
__device__ __forceinline__ void LoadGates(const Args& args, const Place& place,
                                          float (&gates)[kWidth]) {
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    gates[i] =
        args.per_channel ? args.gate[place.head * args.D + place.d + i] : args.gate[place.head];
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) ScaleHeadsKernel(ScaleHeadsArgs<T> args, int lanes) {
  const Place place = PlaceOfThread(args, lanes);
  if (!place.inside) return;
  float values[kWidth] = {};
  if (!place.padding) {
    float gates[kWidth];
    LoadGates(args, place, gates);
    LoadFloats(args.x + place.token * args.x_stride + place.column, values);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] *= gates[i];
  }
  StoreFloats(values, args.y + place.token * args.y_stride + place.column);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    ScaleHeadsBackwardKernel(ScaleHeadsBackwardArgs<T> args, int lanes) {
  const Place place = PlaceOfThread(args, lanes);
  float scaled[kWidth] = {}, products[kWidth] = {};
  float sum = 0;
  if (place.inside && !place.padding) {
    float gates[kWidth], dy[kWidth], x[kWidth];
    LoadGates(args, place, gates);
    LoadFloats(args.dy + place.token * args.dy_stride + place.column, dy);
    LoadFloats(args.x + place.token * args.x_stride + place.column, x);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      scaled[i] = gates[i] * dy[i];
      products[i] = dy[i] * x[i];
      sum += products[i];
    }
  }
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(kWholeWarp, sum, distance);
  }
  if (!place.inside) return;
  StoreFloats(scaled, args.dx + place.token * args.dx_stride + place.column);
  if (args.per_channel) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      args.dgate[place.head * args.D + place.d + i] = products[i];
    }
  } else if (place.d == 0) {
    args.dgate[place.head] = sum;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) ZeroPaddingKernel(ZeroPaddingArgs<T> args) {
  const int64_t token = blockIdx.x;
  if (token % args.T_ < args.lengths[token / args.T_]) return;
  const float zeros[kWidth] = {};
  for (int64_t column = threadIdx.x * kWidth; column < args.columns; column += kThreads * kWidth) {
    StoreFloats(zeros, args.x + token * args.stride + column);
  }
}

// Lanes of a head.
int LanesOf(int64_t D) {
  int lanes = 1;
  while (lanes * kWidth < D) lanes *= 2;
  return lanes;
}

LaunchShape OverHeads(int64_t heads, int lanes, Stream stream) {
  return {.grid = dim3(static_cast<unsigned>(CeilDiv(heads * lanes, kThreads))),
          .block = dim3(kThreads),
          .stream = stream};
}

}  // namespace

template <typename T>
absl::Status ScaleHeads(const ScaleHeadsArgs<T>& args, Stream stream) {
  const int lanes = LanesOf(args.D);
  return Launch("scale heads", ScaleHeadsKernel<T>,
                OverHeads(args.B * args.T_ * args.H, lanes, stream), args, lanes);
}

template <typename T>
absl::Status ScaleHeadsBackward(const ScaleHeadsBackwardArgs<T>& args, Stream stream) {
  const int lanes = LanesOf(args.D);
  return Launch("scale heads backward", ScaleHeadsBackwardKernel<T>,
                OverHeads(args.B * args.T_ * args.H, lanes, stream), args, lanes);
}

template <typename T>
absl::Status ZeroPadding(const ZeroPaddingArgs<T>& args, Stream stream) {
  return Launch("zero padding", ZeroPaddingKernel<T>,
                {.grid = dim3(static_cast<unsigned>(args.B * args.T_)),
                 .block = dim3(kThreads),
                 .stream = stream},
                args);
}

#define SLUICE_INSTANTIATE_HEAD_SCALE(T)                                              \
  template absl::Status ScaleHeads(const ScaleHeadsArgs<T>&, Stream);                 \
  template absl::Status ScaleHeadsBackward(const ScaleHeadsBackwardArgs<T>&, Stream); \
  template absl::Status ZeroPadding(const ZeroPaddingArgs<T>&, Stream)
SLUICE_INSTANTIATE_HEAD_SCALE(bf16);
SLUICE_INSTANTIATE_HEAD_SCALE(fp16);
#undef SLUICE_INSTANTIATE_HEAD_SCALE

}  // namespace sluice::cuda
