#include "emulator/opcodes.h"

#include <cuda_runtime.h>

namespace sluice::emulator {
namespace {

constexpr int kThreads = 96;

// In the lists, `value` is for the host; here an instruction is only its text.
#define SLUICE_KERNEL(name, T, list)                                            \
  __global__ void name(const T* a, const T* b, const T* c, T* out, int count) { \
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);      \
    if (i >= count) return;                                                     \
    int k = 0;                                                                  \
    list                                                                        \
  }

#define SLUICE_RUN_R(text, value)                                        \
  {                                                                      \
    uint32_t result;                                                     \
    asm volatile(text : "=r"(result) : "r"(a[i]), "r"(b[i]), "r"(c[i])); \
    out[k++ * count + i] = result;                                       \
  }
#define SLUICE_RUN_L(text, value)                                        \
  {                                                                      \
    unsigned long result;                                                \
    asm volatile(text : "=l"(result) : "l"(a[i]), "l"(b[i]), "l"(c[i])); \
    out[k++ * count + i] = result;                                       \
  }
#define SLUICE_RUN_F(text, value)                                        \
  {                                                                      \
    float result;                                                        \
    asm volatile(text : "=f"(result) : "f"(a[i]), "f"(b[i]), "f"(c[i])); \
    out[k++ * count + i] = result;                                       \
  }
SLUICE_KERNEL(U32Kernel, uint32_t, SLUICE_OPCODES_U32(SLUICE_RUN_R))
SLUICE_KERNEL(U64Kernel, uint64_t, SLUICE_OPCODES_U64(SLUICE_RUN_L))
SLUICE_KERNEL(F32Kernel, float, SLUICE_OPCODES_F32(SLUICE_RUN_F))
SLUICE_KERNEL(ApproximateKernel, float, SLUICE_OPCODES_APPROXIMATE(SLUICE_RUN_F))

#define SLUICE_COUNT(text, value) +1

template <typename T>
T* Upload(const std::vector<T>& values) {
  T* memory = nullptr;
  cudaMalloc(&memory, values.size() * sizeof(T));
  cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice);
  return memory;
}

template <typename T>
std::vector<T> Run(void (*kernel)(const T*, const T*, const T*, T*, int), size_t instructions,
                   const std::vector<T>& a, const std::vector<T>& b, const std::vector<T>& c) {
  std::vector<T> out(instructions * a.size());
  T *device_a = Upload(a), *device_b = Upload(b), *device_c = Upload(c), *device_out = Upload(out);
  const auto count = static_cast<int>(a.size());
  kernel<<<(count + kThreads - 1) / kThreads, kThreads>>>(device_a, device_b, device_c, device_out,
                                                          count);
  cudaMemcpy(out.data(), device_out, out.size() * sizeof(T), cudaMemcpyDeviceToHost);
  for (T* memory : {device_a, device_b, device_c, device_out}) cudaFree(memory);
  return out;
}

}  // namespace

std::vector<uint32_t> RunU32(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b,
                             const std::vector<uint32_t>& c) {
  return Run(U32Kernel, 0 SLUICE_OPCODES_U32(SLUICE_COUNT), a, b, c);
}
std::vector<uint64_t> RunU64(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b,
                             const std::vector<uint64_t>& c) {
  return Run(U64Kernel, 0 SLUICE_OPCODES_U64(SLUICE_COUNT), a, b, c);
}
std::vector<float> RunF32(const std::vector<float>& a, const std::vector<float>& b,
                          const std::vector<float>& c) {
  return Run(F32Kernel, 0 SLUICE_OPCODES_F32(SLUICE_COUNT), a, b, c);
}
std::vector<float> RunApproximate(const std::vector<float>& a, const std::vector<float>& b,
                                  const std::vector<float>& c) {
  return Run(ApproximateKernel, 0 SLUICE_OPCODES_APPROXIMATE(SLUICE_COUNT), a, b, c);
}

}  // namespace sluice::emulator
