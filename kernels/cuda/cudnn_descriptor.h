// Descriptors of cuDNN's backend API: made, given attributes, finalized, and destroyed with their
// owner.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::cuda {

// What cuDNN's headers have since 9.21 (the numbers are its ABI), so that older ones do to build;
// the library is asked for its version before any of it is used.
constexpr auto kDiagonalBandMask = static_cast<cudnnBackendDescriptorType_t>(44);
constexpr auto kBandMaskX = static_cast<cudnnBackendAttributeName_t>(3000);
constexpr auto kBandMaskB = static_cast<cudnnBackendAttributeName_t>(3005);
constexpr auto kBandMaskY = static_cast<cudnnBackendAttributeName_t>(3006);
constexpr auto kBandMaskComparison = static_cast<cudnnBackendAttributeName_t>(3007);
constexpr auto kForwardSubgraph = static_cast<cudnnBackendAttributeName_t>(2811);
constexpr auto kForwardSubgraphInput = static_cast<cudnnBackendAttributeName_t>(2812);
constexpr auto kForwardSubgraphOutput = static_cast<cudnnBackendAttributeName_t>(2813);
constexpr auto kBackwardSubgraph = static_cast<cudnnBackendAttributeName_t>(2867);
constexpr auto kBackwardSubgraphInput = static_cast<cudnnBackendAttributeName_t>(2868);
constexpr auto kBackwardSubgraphOutput = static_cast<cudnnBackendAttributeName_t>(2869);

inline absl::Status CheckCudnn(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return absl::OkStatus();
  char reason[512] = {};
  cudnnGetLastErrorString(reason, sizeof(reason));
  return DeviceError("cuDNN failed", what,
                     std::string(cudnnGetErrorString(status)) + ": " + reason);
}

class CudnnDescriptor {
 public:
  CudnnDescriptor() = default;
  ~CudnnDescriptor() {
    if (descriptor_ != nullptr) cudnnBackendDestroyDescriptor(descriptor_);
  }
  CudnnDescriptor(CudnnDescriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  static absl::StatusOr<CudnnDescriptor> Create(cudnnBackendDescriptorType_t type) {
    CudnnDescriptor created;
    RETURN_IF_ERROR(CheckCudnn(cudnnBackendCreateDescriptor(type, &created.descriptor_),
                               "cudnnBackendCreateDescriptor"));
    return created;
  }

  absl::Status Set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                   int64_t count, const void* values) {
    return CheckCudnn(cudnnBackendSetAttribute(descriptor_, name, type, count, values),
                      "cudnnBackendSetAttribute");
  }
  absl::Status Set(cudnnBackendAttributeName_t name, int64_t value) {
    return Set(name, CUDNN_TYPE_INT64, 1, &value);
  }
  absl::Status Set(cudnnBackendAttributeName_t name, std::span<const int64_t> values) {
    return Set(name, CUDNN_TYPE_INT64, std::ssize(values), values.data());
  }
  absl::Status Set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    return Set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
  }
  absl::Status Finalize() {
    return CheckCudnn(cudnnBackendFinalize(descriptor_), "cudnnBackendFinalize");
  }
  cudnnBackendDescriptor_t get() const { return descriptor_; }

 private:
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace sluice::cuda
