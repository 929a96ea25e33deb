#include "emulator/profiled_kernels.h"
#include "emulator/upload.cuh"

namespace sluice::emulator {
namespace {

template <int kStride>
__global__ void TransposeKernel(const float* x, float* y) {
  __shared__ float tile[32 * kStride];
  const int lane = static_cast<int>(threadIdx.x);
#pragma unroll 1
  for (int row = 0; row < 32; ++row) tile[row * kStride + lane] = x[row * 32 + lane];
  __syncthreads();
#pragma unroll 1
  for (int row = 0; row < 32; ++row) y[row * 32 + lane] = tile[lane * kStride + row];
}

__global__ void StridedReadKernel(const volatile float* x, float* y) {
  const int lane = static_cast<int>(threadIdx.x);
  const float once = x[8 * lane];
  y[lane] = once + x[8 * lane];
}

}  // namespace

void RunTranspose(bool padded) {
  const OnDevice<float> x(1024), y(1024);
  if (padded) {
    TransposeKernel<33><<<1, 32>>>(x.data(), y.data());
  } else {
    TransposeKernel<32><<<1, 32>>>(x.data(), y.data());
  }
  cudaDeviceSynchronize();
}

void RunStridedRead() {
  const OnDevice<float> x(256), y(32);
  StridedReadKernel<<<1, 32>>>(x.data(), y.data());
  cudaDeviceSynchronize();
}

}  // namespace sluice::emulator
