// Where a model's memory lies and its kernels run: the CPU, or one CUDA GPU of a rank. Work of a
// GPU goes into one stream, in the order of the calls; docs/cuda.md says what waits where.
//
//   ASSIGN_OR_RETURN(const std::unique_ptr<Device> device, Device::Open("cuda", local_rank));
//   ASSIGN_OR_RETURN(void* memory, device->Allocate("arena", bytes));
//   RETURN_IF_ERROR(device->CopyToDevice(memory, values.data(), bytes));  // values may change now
//   …  kernels, into device->stream()
//   RETURN_IF_ERROR(device->CopyToHost(values.data(), memory, bytes));  // waits for all of them
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct CUstream_st;  // cudaStream_t's, without CUDA's headers

namespace sluice {

enum class DeviceKind { kCpu, kCuda };

class Device {
 public:
  // `name`: cpu or cuda (runtime.device). local_rank, among the ranks of this machine, chooses the
  // GPU of those that this process sees; where it sees one, that is it. DeviceError in a build
  // without CUDA, and where there is no GPU for this rank.
  static absl::StatusOr<std::unique_ptr<Device>> Open(absl::string_view name, int local_rank);
  static std::unique_ptr<Device> OpenCpu();

  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual DeviceKind kind() const = 0;
  bool is_cuda() const { return kind() == DeviceKind::kCuda; }
  virtual std::string Description() const = 0;  // "CPU", "CUDA: NVIDIA A100 (sm_80, 80.0 GiB)"
  virtual CUstream_st* stream() const = 0;      // what kernels are launched into; null on the CPU

  // Memory full of zeros, aligned to 256 bytes at least. DeviceError, which names `what`, when
  // there is not that much.
  virtual absl::StatusOr<void*> Allocate(absl::string_view what, int64_t bytes) = 0;
  // Waits for what still uses it. `bytes` as it was allocated.
  virtual void Free(void* memory, int64_t bytes) = 0;

  // `memory` and `to` or `from` of these are the device's; the other side is the host's.
  // Takes effect in the stream's order, but the host's memory may be changed on return.
  virtual absl::Status CopyToDevice(void* to, const void* from, int64_t bytes) = 0;
  // Inputs of a later pass, copied while kernels read those of this one: two places in memory take
  // turns, and copies go through a stream of their own.
  //
  //   BeginCopies(1); CopyAhead(to, from, bytes) …; EndCopies(1);     while kernels use place 0
  //   EndUse(0); BeginUse(1);      kernels launched from here on see what was copied
  //
  // Copies wait for the kernels that were launched before the place's last EndUse, kernels for the
  // copies before its last EndCopies; nothing waits on the host. `place`: 0 or 1.
  virtual absl::Status BeginCopies(int place) = 0;
  // As CopyToDevice, in the order of the stream of copies.
  virtual absl::Status CopyAhead(void* to, const void* from, int64_t bytes) = 0;
  virtual absl::Status EndCopies(int place) = 0;
  virtual absl::Status BeginUse(int place) = 0;
  virtual absl::Status EndUse(int place) = 0;

  // Waits for the stream.
  virtual absl::Status CopyToHost(void* to, const void* from, int64_t bytes) = 0;
  virtual absl::Status Fill(void* memory, uint8_t byte,
                            int64_t bytes) = 0;  // in the stream's order
  // Waits for the stream, and says what failed in it.
  virtual absl::Status Synchronize() = 0;

 protected:
  Device() = default;
};

// The other half of Device::Open: device_cuda.cc, or device_cuda_absent.cc in a build without CUDA.
absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int local_rank);
// Whether this build has CUDA, and what runs it; for `sluice info`.
bool BuiltWithCuda();

}  // namespace sluice
