// What the parts of the emulated CUDA runtime share.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "emulator/program.h"

namespace sluice::emulator {

// Remembers an error for cudaGetLastError, and hands it on.
cudaError_t Result(cudaError_t error);

// The kernel behind a host function that nvcc registered; null when there is none.
struct RegisteredKernel {
  const Kernel* kernel = nullptr;
  size_t most_dynamic_shared = 48 << 10;  // until cudaFuncSetAttribute raises it
};
RegisteredKernel* FindKernel(const void* host_function);
// Those that host code has launched or asked about, in no particular order.
std::vector<const Kernel*> LaunchedKernels();
// The __device__ or __constant__ variable behind a host symbol; null when there is none.
const Symbol* FindVariable(const void* host_symbol);

// The number among all of the machine of the `device`-th that this process sees.
int DeviceOfMachine(int device);

// What the emulated device, an A100 in its limits, allows.
constexpr size_t kMostSharedOfBlock = 163 << 10;  // on request
constexpr size_t kSharedOfMultiprocessor = 164 << 10;
constexpr size_t kSharedReservedOfBlock = 1 << 10;
constexpr int kThreadsOfMultiprocessor = 2048;
constexpr int kBlocksOfMultiprocessor = 32;
constexpr int kMultiprocessors = 108;

}  // namespace sluice::emulator
