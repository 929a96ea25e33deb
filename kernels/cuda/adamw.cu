// One update of the flat buffer: bound by memory, each value touched once.
#include "kernels/api/adamw.h"

#include <cmath>

#include "core/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/parameter_update.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

// What a step multiplies by, worked out in double and rounded once.
struct Factors {
  float one_minus_beta1, one_minus_beta2;
  float step;            // learning rate / (1 - β1^t)
  float root_of_second;  // 1 / sqrt(1 - β2^t)
};

template <typename T>
Factors MakeFactors(const AdamWArgs<T>& args) {
  const double beta1 = args.beta1, beta2 = args.beta2, t = static_cast<double>(args.t);
  return {.one_minus_beta1 = static_cast<float>(1 - beta1),
          .one_minus_beta2 = static_cast<float>(1 - beta2),
          .step = static_cast<float>(args.learning_rate / (1 - std::pow(beta1, t))),
          .root_of_second = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, t)))};
}

template <typename T>
struct KernelArgs {
  AdamWArgs<T> adamw;
  UpdateDeviceArgs device;
  Factors factors;
  bool aligned;
};

struct Step {
  float gradient_scale, decay;
};

template <int width, typename T>
__device__ __forceinline__ void Update(const KernelArgs<T>& args, const Step& step, int64_t i) {
  const AdamWArgs<T>& adamw = args.adamw;
  const float zeros[width] = {};
  float g[width], m[width], v[width], w[width];
  LoadFloats(adamw.gradient + i, g);
  StoreFloats(zeros, adamw.gradient + i);
  LoadFloats(adamw.m + i, m);
  LoadFloats(adamw.v + i, v);
  LoadFloats(adamw.master + i, w);
#pragma unroll
  for (int k = 0; k < width; ++k) {
    g[k] *= step.gradient_scale;
    m[k] = adamw.beta1 * m[k] + args.factors.one_minus_beta1 * g[k];
    v[k] = adamw.beta2 * v[k] + args.factors.one_minus_beta2 * g[k] * g[k];
    const float denominator = sqrtf(v[k]) * args.factors.root_of_second + adamw.eps;
    w[k] -= step.decay * w[k];
    w[k] -= args.factors.step * (m[k] / denominator);
  }
  StoreFloats(m, adamw.m + i);
  StoreFloats(v, adamw.v + i);
  StoreFloats(w, adamw.master + i);
  if (adamw.working != nullptr) StoreFloats(w, adamw.working + i);
}

template <typename T>
__global__ void __launch_bounds__(kUpdateThreads) AdamWKernel(KernelArgs<T> args) {
  const AdamWArgs<T>& adamw = args.adamw;
  const auto update = [&]<int width>(Width<width>, const StretchStep& step, int64_t i) {
    Update<width>(args, {step.gradient_scale, adamw.learning_rate * step.weight_decay}, i);
  };
  UpdateStretch({adamw.segments, adamw.segment_count, adamw.gradient_scale, args.aligned},
                args.device, update);
}

}  // namespace

template <typename T>
absl::Status AdamW(const AdamWArgs<T>& args, const UpdateDeviceArgs& device, Stream stream) {
  CHECK_GE(args.t, 1);
  if (args.segment_count == 0) return absl::OkStatus();
  const bool aligned = AreAligned({args.master, args.gradient, args.m, args.v}) &&
                       AreAligned({args.working}, sizeof(T) * kUpdateWidth);
  return Launch("adamw", AdamWKernel<T>, UpdateGrid(device.elements, stream),
                KernelArgs<T>{args, device, MakeFactors(args), aligned});
}

template absl::Status AdamW(const AdamWArgs<float>& args, const UpdateDeviceArgs& device,
                            Stream stream);
template absl::Status AdamW(const AdamWArgs<bf16>& args, const UpdateDeviceArgs& device,
                            Stream stream);
template absl::Status AdamW(const AdamWArgs<fp16>& args, const UpdateDeviceArgs& device,
                            Stream stream);

}  // namespace sluice::cuda
