// cuDNN's plan of one attention call: its operation described, an engine chosen, its workspace
// known; then run on pointers.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/cudnn_descriptor.h"

namespace sluice::cuda {

// The tensors of the operation, by the numbers that cuDNN knows them by.
enum CudnnTensor : int64_t {
  kTensorQ = 1,
  kTensorK,
  kTensorV,
  kTensorO,
  kTensorStatistics,  // log-sum-exp
  kTensorScale,       // one float of the host
  kTensorQueryLengths,
  kTensorKeyLengths,
  kTensorDq,
  kTensorDk,
  kTensorDv,
  kTensorDo,
  kTensorScores,  // virtual, as is the next: before and behind the causal mask
  kTensorMaskedScores,
  kTensorMinusInfinity,  // one float of the host: what masked scores become
};

// Everything that decides how a call is planned.
struct CudnnProblem {
  cudnnDataType_t type;
  int64_t B, T, H, D;
  int64_t qkv_stride;    // of Q, K, dQ, dK, and dV; elements
  int64_t value_stride;  // of V
  bool causal, by_length, backward;
  bool with_statistics;  // forward: they are written
  bool operator<(const CudnnProblem& other) const { return Key() < other.Key(); }
  std::array<int64_t, 11> Key() const {
    return {type,           B, T, H, D, qkv_stride, value_stride, causal, by_length, backward,
            with_statistics};
  }
};

struct CudnnPointer {
  CudnnTensor tensor;
  const void* memory;  // of the device; of the host for single floats
};

class CudnnPlan {
 public:
  // capability: of the device, 90 is sm_90. DeviceError with cuDNN's words where it has no engine.
  static absl::StatusOr<CudnnPlan> Create(cudnnHandle_t handle, int capability,
                                          const CudnnProblem& problem);
  int64_t workspace_bytes() const { return workspace_bytes_; }
  // One pointer for each tensor that is not virtual. The handle's stream was set.
  absl::Status Run(cudnnHandle_t handle, const std::vector<CudnnPointer>& pointers,
                   void* workspace) const;

 private:
  absl::Status Describe(cudnnHandle_t handle, const CudnnProblem& problem);
  absl::StatusOr<const CudnnDescriptor*> Tensor(const CudnnProblem& problem, CudnnTensor tensor);
  absl::Status SetTensor(const CudnnProblem& problem, cudnnBackendAttributeName_t name,
                         CudnnTensor tensor);
  absl::Status AddCausalMask(const CudnnProblem& problem);
  absl::Status ChooseForward(cudnnHandle_t handle);
  absl::Status ChooseDeterministicBackward(cudnnHandle_t handle, int capability);
  absl::Status Finish(cudnnHandle_t handle, CudnnDescriptor configuration);

  CudnnDescriptor operation_, graph_, plan_;
  std::vector<CudnnDescriptor> parts_;  // that those refer to
  int64_t workspace_bytes_ = 0;
};

}  // namespace sluice::cuda
