// The CUDA side of support/backend.h, on a GPU or on the emulator.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "core/check.h"
#include "core/error.h"
#include "support/backend.h"

namespace sluice::testing {

void* AllocateOnBackend(size_t bytes) {
  void* memory = nullptr;
  const cudaError_t error =
      cudaMallocManaged(&memory, std::max<size_t>(bytes, 1), cudaMemAttachGlobal);
  CHECK(error == cudaSuccess);
  if (bytes == 0) NarrowOnBackend(memory, 0);
  return memory;
}

void FreeOnBackend(void* memory) { CHECK(cudaFree(memory) == cudaSuccess); }

// Not the default stream, with which others synchronize.
cuda::Stream BackendStream() {
  static const cuda::Stream stream = [] {
    cuda::Stream created = nullptr;
    CHECK(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking) == cudaSuccess);
    return created;
  }();
  return stream;
}

absl::Status SynchronizeBackend() {
  const cudaError_t error = cudaDeviceSynchronize();
  if (error == cudaSuccess) return absl::OkStatus();
  return DeviceError("a kernel failed", "", cudaGetErrorString(error));
}

}  // namespace sluice::testing
