// y = f(x) and dx = dy · f'(x), elementwise. Which f is uniform over a launch: a run-time branch.
#include "kernels/api/activation.h"

#include "core/integer_math.h"
#include "kernels/cuda/activation_functions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    ActivationForwardKernel(ActivationForwardArgs<T> args, bool aligned) {
  ForEachVectorOfBlock<kVectorWidth<T>>(args.count, aligned, [&](int64_t i, auto width) {
    constexpr int kWidth = decltype(width)::kValue;
    float values[kWidth];
    LoadFloats(args.x + i, values);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) values[k] = ActivationValue(args.activation, values[k]);
    StoreFloats(values, args.y + i);
  });
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    ActivationBackwardKernel(ActivationBackwardArgs<T> args, bool aligned) {
  ForEachVectorOfBlock<kVectorWidth<T>>(args.count, aligned, [&](int64_t i, auto width) {
    constexpr int kWidth = decltype(width)::kValue;
    float values[kWidth], gradient[kWidth];
    LoadFloats(args.x + i, values);
    LoadFloats(args.dy + i, gradient);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) gradient[k] *= ActivationSlope(args.activation, values[k]);
    StoreFloats(gradient, args.dx + i);
  });
}

template <typename T>
LaunchShape OverValues(int64_t count, Stream stream) {
  const int64_t block_values = int64_t{kThreads} * kVectorWidth<T>;
  return {.grid = dim3(static_cast<unsigned>(CeilDiv(count, block_values))),
          .block = dim3(kThreads),
          .stream = stream};
}

}  // namespace

template <typename T>
absl::Status ActivationForward(const ActivationForwardArgs<T>& args, Stream stream) {
  return Launch("activation forward", ActivationForwardKernel<T>, OverValues<T>(args.count, stream),
                args, AreAligned({args.x, args.y}));
}

template <typename T>
absl::Status ActivationBackward(const ActivationBackwardArgs<T>& args, Stream stream) {
  return Launch("activation backward", ActivationBackwardKernel<T>,
                OverValues<T>(args.count, stream), args, AreAligned({args.x, args.dy, args.dx}));
}

template absl::Status ActivationForward(const ActivationForwardArgs<float>& args, Stream stream);
template absl::Status ActivationForward(const ActivationForwardArgs<bf16>& args, Stream stream);
template absl::Status ActivationForward(const ActivationForwardArgs<fp16>& args, Stream stream);
template absl::Status ActivationBackward(const ActivationBackwardArgs<float>& args, Stream stream);
template absl::Status ActivationBackward(const ActivationBackwardArgs<bf16>& args, Stream stream);
template absl::Status ActivationBackward(const ActivationBackwardArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
