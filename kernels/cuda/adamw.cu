// One update of the flat buffer: bound by memory, each value touched once. A block takes a stretch
// of the buffer and walks the segments that lie in it.
#include "kernels/api/adamw.h"

#include <cmath>

#include "core/check.h"
#include "core/integer_math.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWidth = 4;  // floats a thread takes at once
constexpr int64_t kBlockValues = 4096;

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
  AdamWDeviceArgs device;
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

// The first segment that ends behind `begin`; segment_count if none.
template <typename T>
__device__ __forceinline__ int64_t FirstSegment(const AdamWArgs<T>& args, int64_t begin) {
  int64_t low = 0, high = args.segment_count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (args.segments[middle].end <= begin) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) AdamWKernel(KernelArgs<T> args) {
  if (args.device.skip != nullptr && *args.device.skip != 0) return;
  const AdamWArgs<T>& adamw = args.adamw;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kBlockValues;
  const int64_t end =
      begin + kBlockValues < args.device.elements ? begin + kBlockValues : args.device.elements;
  Step step = {adamw.gradient_scale, 0};
  if (args.device.gradient_factor != nullptr) step.gradient_scale *= *args.device.gradient_factor;
  for (int64_t s = FirstSegment(adamw, begin); s < adamw.segment_count; ++s) {
    const AdamWSegment segment = adamw.segments[s];
    if (segment.begin >= end) break;
    step.decay = adamw.learning_rate * segment.weight_decay;
    const int64_t first = segment.begin > begin ? segment.begin : begin;
    const int64_t last = segment.end < end ? segment.end : end;
    // Vectors begin at multiples of their width, which the block's stretch does too.
    const int64_t vectors_begin = args.aligned ? (first + kWidth - 1) / kWidth * kWidth : last;
    const int64_t vectors_end = args.aligned ? last / kWidth * kWidth : last;
    for (int64_t i = vectors_begin + threadIdx.x * kWidth; i < vectors_end;
         i += kThreads * kWidth) {
      Update<kWidth>(args, step, i);
    }
    const int64_t head_end = vectors_begin < last ? vectors_begin : last;
    for (int64_t i = first + threadIdx.x; i < head_end; i += kThreads) Update<1>(args, step, i);
    const int64_t tail_begin = vectors_end > head_end ? vectors_end : head_end;
    for (int64_t i = tail_begin + threadIdx.x; i < last; i += kThreads) Update<1>(args, step, i);
  }
}

// One thread.
__global__ void DecideUpdateKernel(const DecideUpdateArgs args) {
  const double norm = sqrt(*args.sum_of_squares) * args.gradient_scale;
  *args.decision = sluice::DecideUpdate(norm, *args.loss, args.max_norm);
}

}  // namespace

absl::Status DecideUpdate(const DecideUpdateArgs& args, Stream stream) {
  return Launch("decision on an update", DecideUpdateKernel,
                {.grid = dim3(1), .block = dim3(1), .stream = stream}, args);
}

template <typename T>
absl::Status AdamW(const AdamWArgs<T>& args, const AdamWDeviceArgs& device, Stream stream) {
  CHECK_GE(args.t, 1);
  if (args.segment_count == 0) return absl::OkStatus();
  const bool aligned = AreAligned({args.master, args.gradient, args.m, args.v}) &&
                       AreAligned({args.working}, sizeof(T) * kWidth);
  return Launch("adamw", AdamWKernel<T>,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(device.elements, kBlockValues))),
                 .block = dim3(kThreads),
                 .stream = stream},
                KernelArgs<T>{args, device, MakeFactors(args), aligned});
}

template absl::Status AdamW(const AdamWArgs<float>& args, const AdamWDeviceArgs& device,
                            Stream stream);
template absl::Status AdamW(const AdamWArgs<bf16>& args, const AdamWDeviceArgs& device,
                            Stream stream);
template absl::Status AdamW(const AdamWArgs<fp16>& args, const AdamWDeviceArgs& device,
                            Stream stream);

}  // namespace sluice::cuda
