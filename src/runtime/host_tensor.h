// A device's tensor where the host can work on it, outside of steps: the tensor itself on the CPU,
// a copy on a GPU.
//
//   ASSIGN_OR_RETURN(const HostTensor logits, HostTensor::Read(device, *logits_));     waits
//   logits.view().as<float>()[0] …
//
//   HostTensor weights = HostTensor::ToWrite(device, parameters.flat_master());
//   … fill weights.view() …
//   RETURN_IF_ERROR(weights.Store());
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "core/check.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

namespace sluice {

class HostTensor {
 public:
  // The values of `tensor` once the device has done what it was given; a view of the same shape,
  // with rows that are as far apart. Null of null.
  static absl::StatusOr<HostTensor> Read(Device& device, const TensorView& tensor);
  // Memory for values of `tensor`, which is contiguous; zeros where it is not the tensor itself.
  static HostTensor ToWrite(Device& device, const TensorView& tensor);

  const TensorView& view() const { return view_; }

  // Gives the tensor the values of view().
  absl::Status Store();

 private:
  HostTensor(Device& device, const TensorView& tensor);

  Device* device_;
  TensorView tensor_, view_;
  std::vector<char> copy_;  // empty on the CPU
};

// The first elements of `tensor` become `values`, which may change on return.
template <typename T>
absl::Status CopyValues(Device& device, std::span<const T> values, const TensorView& tensor) {
  CHECK_LE(std::ssize(values), tensor.elements());
  CHECK(tensor.contiguous());
  return device.CopyToDevice(tensor.as<T>(), values.data(),
                             static_cast<int64_t>(values.size_bytes()));
}

}  // namespace sluice
