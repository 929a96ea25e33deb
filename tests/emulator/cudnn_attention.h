// What cuDNN's stand-in computes: scaled dot-product attention, naively.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <string>

#include "emulator/library_access.h"

namespace sluice::emulator {

// A tensor of an execution: as it was described, and where it lies.
struct CudnnTensor {
  int64_t number = 0;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  std::array<int64_t, 4> sizes = {}, strides = {};
  int64_t alignment = 0;
  bool by_value = false, is_virtual = false;
  void* memory = nullptr;

  int64_t element_bytes() const {
    return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_INT32 ? 4 : 2;
  }
  bool exists() const { return number != 0; }
};

// Those that do not exist in an operation have the number 0.
struct CudnnAttentionTensors {
  CudnnTensor q, k, v, o, statistics, scale, query_lengths, key_lengths, minus_infinity;
  CudnnTensor dq, dk, dv, dout;  // backward
  bool causal = false;
};

// o and, where it exists, statistics: log-sum-exp of the scaled scores. What they hold in padding
// is not documented: NaN. Stops the program when what lies in padding of an input is not finite,
// since products of whole tiles multiply it by zero.
void RunCudnnForward(const Task& task, const CudnnAttentionTensors& tensors);
void RunCudnnBackward(const Task& task, const CudnnAttentionTensors& tensors);

}  // namespace sluice::emulator
