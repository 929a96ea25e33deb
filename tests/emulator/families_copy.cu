// The families that need kernels of more text: cp.async, and arithmetic on pairs of 16 bits.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "emulator/families.h"
#include "emulator/upload.cuh"
#include "emulator/warp_instructions.cuh"

namespace sluice::emulator {
namespace {

__global__ void AsyncCopyKernel(const float* x, float* y) {
  __shared__ alignas(16) float stages[2][128];
  const int t = static_cast<int>(threadIdx.x);  // of 32: 16 bytes each
  const int given = t == 31 ? 4 : 16;
  CopyAsync(stages[0] + 4 * t, x + 4 * t, given);
  CommitCopies();
  CopyAsync(stages[1] + 4 * t, x + 128 + 4 * t, given);
  CommitCopies();
  WaitForCopies<1>();
  __syncthreads();
  for (int k = 0; k < 4; ++k) y[32 * k + t] = stages[0][32 * k + t];
  WaitForCopies<0>();
  __syncthreads();
  for (int k = 0; k < 4; ++k) y[128 + 32 * k + t] = stages[1][32 * k + t];
}

template <typename Pair>
__global__ void HalvesKernel(const Pair* a, const Pair* b, const Pair* c, Pair* out, int pairs) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= pairs) return;
  const Pair results[9] = {__hadd2_rn(a[i], b[i]), __hsub2_rn(a[i], b[i]),
                           __hmul2_rn(a[i], b[i]), __hfma2(a[i], b[i], c[i]),
                           __hmin2(a[i], b[i]),    __hmax2(a[i], b[i]),
                           __hneg2(a[i]),          __habs2(a[i]),
                           __hlt2(a[i], b[i])};
  for (int k = 0; k < 9; ++k) out[k * pairs + i] = results[k];
}

template <typename Pair, typename Half>
std::vector<Half> Run(const std::vector<Half>& a, const std::vector<Half>& b,
                      const std::vector<Half>& c) {
  const OnDevice<Half> device_a(a), device_b(b), device_c(c), out(9 * a.size());
  const auto pairs = static_cast<int>(a.size() / 2);
  HalvesKernel<<<(pairs + 63) / 64, 64>>>(reinterpret_cast<const Pair*>(device_a.data()),
                                          reinterpret_cast<const Pair*>(device_b.data()),
                                          reinterpret_cast<const Pair*>(device_c.data()),
                                          reinterpret_cast<Pair*>(out.data()), pairs);
  return out.Download();
}

}  // namespace

Floats RunAsyncCopy(const Floats& x) {
  const OnDevice<float> device_x(x), y(x.size());
  AsyncCopyKernel<<<1, 32>>>(device_x.data(), y.data());
  return y.Download();
}

std::vector<bf16> RunHalves(const std::vector<bf16>& a, const std::vector<bf16>& b,
                            const std::vector<bf16>& c) {
  return Run<__nv_bfloat162>(a, b, c);
}
std::vector<fp16> RunHalves(const std::vector<fp16>& a, const std::vector<fp16>& b,
                            const std::vector<fp16>& c) {
  return Run<__half2>(a, b, c);
}

}  // namespace sluice::emulator
