// The only place with <<<>>>: every launch is checked and named.
//
//   RETURN_IF_ERROR(Launch("layer_norm forward", LayerNormForwardKernel<__nv_bfloat16>,
//                          {.grid = dim3(rows), .block = dim3(256), .stream = stream}, arguments));
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "kernels/api/cuda_stream.h"

namespace sluice::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  int64_t dynamic_shared_bytes = 0;
  Stream stream = nullptr;
};

// What a block may have without asking; more is asked for at the launch.
constexpr int64_t kSharedBytesWithoutAsking = 48 * 1024;

// kDevice with the kernel's name, its shape and CUDA's reason when the launch is refused. What
// fails while the kernel runs shows at the stream's next synchronization. An empty grid launches
// nothing.
template <typename... Parameters, typename... Arguments>
absl::Status Launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape,
                    const Arguments&... arguments) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return absl::OkStatus();
  cudaError_t error = cudaSuccess;
  if (shape.dynamic_shared_bytes > kSharedBytesWithoutAsking) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shape.dynamic_shared_bytes));
  }
  if (error == cudaSuccess) {
    kernel<<<shape.grid, shape.block, static_cast<size_t>(shape.dynamic_shared_bytes),
             shape.stream>>>(Parameters(arguments)...);
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) return absl::OkStatus();
  return DeviceError("cannot launch a kernel", name,
                     absl::StrCat("grid ", shape.grid.x, " x ", shape.grid.y, " x ", shape.grid.z,
                                  ", block ", shape.block.x, " x ", shape.block.y, " x ",
                                  shape.block.z, ", ", shape.dynamic_shared_bytes,
                                  " bytes of shared memory: ", cudaGetErrorString(error)));
}

}  // namespace sluice::cuda
