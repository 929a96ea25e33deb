#include "runtime/host_tensor.h"

#include "core/status.h"

namespace sluice {
namespace {

// From the first element to the last, gaps between rows included.
int64_t SpanBytes(const TensorView& tensor) {
  if (tensor.contiguous()) return tensor.bytes();
  return ((tensor.rows() - 1) * tensor.row_stride() + tensor.dim(-1)) * SizeOf(tensor.dtype());
}

}  // namespace

HostTensor::HostTensor(Device& device, const TensorView& tensor)
    : device_(&device), tensor_(tensor), view_(tensor) {
  if (!device.is_cuda() || tensor.null()) return;
  copy_.resize(static_cast<size_t>(SpanBytes(tensor)));
  // new aligns a vector's memory for every element type.
  view_ = tensor.shape().rank() == 0
              ? TensorView(copy_.data(), tensor.dtype(), tensor.shape())
              : TensorView(copy_.data(), tensor.dtype(), tensor.shape(), tensor.row_stride());
}

absl::StatusOr<HostTensor> HostTensor::Read(Device& device, const TensorView& tensor) {
  HostTensor host(device, tensor);
  RETURN_IF_ERROR(device.CopyToHost(host.copy_.data(), tensor.data(), std::ssize(host.copy_)));
  return host;
}

HostTensor HostTensor::ToWrite(Device& device, const TensorView& tensor) {
  CHECK(tensor.contiguous());
  return HostTensor(device, tensor);
}

absl::Status HostTensor::Store() {
  return device_->CopyToDevice(tensor_.data(), copy_.data(), std::ssize(copy_));
}

}  // namespace sluice
