// One update of the flat buffer: bound by memory, each value touched once.
#include "kernels/api/sgd.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/parameter_update.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

template <typename T>
struct KernelArgs {
  SgdArgs<T> sgd;
  UpdateDeviceArgs device;
  bool aligned;
};

template <int width, typename T>
__device__ __forceinline__ void Update(const SgdArgs<T>& sgd, const StretchStep& step, int64_t i) {
  const float zeros[width] = {};
  float g[width], b[width], w[width];
  LoadFloats(sgd.gradient + i, g);
  StoreFloats(zeros, sgd.gradient + i);
  LoadFloats(sgd.momentum_buffer + i, b);
  LoadFloats(sgd.master + i, w);
#pragma unroll
  for (int k = 0; k < width; ++k) {
    g[k] = g[k] * step.gradient_scale + step.weight_decay * w[k];
    b[k] = sgd.momentum * b[k] + g[k];
    w[k] -= sgd.learning_rate * b[k];
  }
  StoreFloats(b, sgd.momentum_buffer + i);
  StoreFloats(w, sgd.master + i);
  if (sgd.working != nullptr) StoreFloats(w, sgd.working + i);
}

template <typename T>
__global__ void __launch_bounds__(kUpdateThreads) SgdKernel(KernelArgs<T> args) {
  const SgdArgs<T>& sgd = args.sgd;
  const auto update = [&]<int width>(Width<width>, const StretchStep& step, int64_t i) {
    Update<width>(sgd, step, i);
  };
  UpdateStretch({sgd.segments, sgd.segment_count, sgd.gradient_scale, args.aligned}, args.device,
                update);
}

}  // namespace

template <typename T>
absl::Status Sgd(const SgdArgs<T>& args, const UpdateDeviceArgs& device, Stream stream) {
  if (args.segment_count == 0) return absl::OkStatus();
  const bool aligned = AreAligned({args.master, args.gradient, args.momentum_buffer}) &&
                       AreAligned({args.working}, sizeof(T) * kUpdateWidth);
  return Launch("sgd", SgdKernel<T>, UpdateGrid(device.elements, stream),
                KernelArgs<T>{args, device, aligned});
}

template absl::Status Sgd(const SgdArgs<float>& args, const UpdateDeviceArgs& device,
                          Stream stream);
template absl::Status Sgd(const SgdArgs<bf16>& args, const UpdateDeviceArgs& device, Stream stream);
template absl::Status Sgd(const SgdArgs<fp16>& args, const UpdateDeviceArgs& device, Stream stream);

}  // namespace sluice::cuda
