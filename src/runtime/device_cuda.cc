// One GPU, by the CUDA runtime (or, in tests, the emulator in its place).
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/status.h"
#include "runtime/device.h"

namespace sluice {
namespace {

absl::Status Check(cudaError_t error, absl::string_view what, absl::string_view where = "") {
  if (error == cudaSuccess) return absl::OkStatus();
  return DeviceError(what, where, cudaGetErrorString(error));
}

// Pinned memory that bytes go through on their way to the device: two halves that take turns. A
// half is written again once the copies out of it are done, so the host waits only when it is a
// whole half ahead of the device.
class StagingRing {
 public:
  ~StagingRing() {
    for (const Half& half : halves_) {
      if (half.memory != nullptr) cudaFreeHost(half.memory);
      if (half.copied != nullptr) cudaEventDestroy(half.copied);
    }
  }

  absl::Status Create() {
    for (Half& half : halves_) {
      RETURN_IF_ERROR(Check(cudaMallocHost(reinterpret_cast<void**>(&half.memory), kHalfBytes),
                            "cannot get pinned memory", absl::StrCat(kHalfBytes, " bytes")));
      RETURN_IF_ERROR(Check(cudaEventCreateWithFlags(&half.copied, cudaEventDisableTiming),
                            "cannot make an event"));
    }
    return absl::OkStatus();
  }

  absl::Status Copy(char* to, const char* from, int64_t bytes, cudaStream_t stream) {
    while (bytes > 0) {
      if (used_ == kHalfBytes) RETURN_IF_ERROR(TurnOver(stream));
      const int64_t part = std::min(bytes, kHalfBytes - used_);
      char* staged = halves_[current_].memory + used_;
      std::memcpy(staged, from, static_cast<size_t>(part));
      RETURN_IF_ERROR(Check(
          cudaMemcpyAsync(to, staged, static_cast<size_t>(part), cudaMemcpyHostToDevice, stream),
          "cannot copy to the GPU", absl::StrCat(part, " bytes")));
      used_ = std::min(RoundUpTo16(used_ + part), kHalfBytes);
      to += part;
      from += part;
      bytes -= part;
    }
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kHalfBytes = int64_t{4} << 20;
  struct Half {
    char* memory = nullptr;
    cudaEvent_t copied = nullptr;  // recorded when the half was full
  };

  static int64_t RoundUpTo16(int64_t bytes) { return (bytes + 15) / 16 * 16; }

  absl::Status TurnOver(cudaStream_t stream) {
    RETURN_IF_ERROR(
        Check(cudaEventRecord(halves_[current_].copied, stream), "cannot record an event"));
    current_ = 1 - current_;
    used_ = 0;
    // An event that was never recorded is done.
    return Check(cudaEventSynchronize(halves_[current_].copied), "a kernel or a copy failed");
  }

  std::array<Half, 2> halves_;
  int current_ = 0;
  int64_t used_ = 0;  // of the current half
};

class CudaDevice : public Device {
 public:
  ~CudaDevice() override {
    for (cudaStream_t stream : {stream_, copy_stream_}) {
      if (stream != nullptr) cudaStreamSynchronize(stream);
    }
    if (readback_ != nullptr) cudaFreeHost(readback_);
    for (const Place& place : places_) {
      for (cudaEvent_t event : {place.copied, place.used}) {
        if (event != nullptr) cudaEventDestroy(event);
      }
    }
    for (cudaStream_t stream : {stream_, copy_stream_}) {
      if (stream != nullptr) cudaStreamDestroy(stream);
    }
  }

  absl::Status Create(int index) {
    index_ = index;
    RETURN_IF_ERROR(Check(cudaSetDevice(index), "cannot use the GPU", absl::StrCat("GPU ", index)));
    cudaDeviceProp properties;
    RETURN_IF_ERROR(Check(cudaGetDeviceProperties(&properties, index), "cannot describe the GPU"));
    description_ = absl::StrFormat(
        "CUDA: %s (sm_%d%d, %.1f GiB)", properties.name, properties.major, properties.minor,
        static_cast<double>(properties.totalGlobalMem) / static_cast<double>(int64_t{1} << 30));
    // Not the default stream, with which others synchronize.
    for (cudaStream_t* stream : {&stream_, &copy_stream_}) {
      RETURN_IF_ERROR(
          Check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "cannot make a stream"));
    }
    for (Place& place : places_) {
      for (cudaEvent_t* event : {&place.copied, &place.used}) {
        RETURN_IF_ERROR(
            Check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cannot make an event"));
      }
    }
    RETURN_IF_ERROR(Check(cudaMallocHost(reinterpret_cast<void**>(&readback_), kReadbackBytes),
                          "cannot get pinned memory", absl::StrCat(kReadbackBytes, " bytes")));
    RETURN_IF_ERROR(ahead_staging_.Create());
    return staging_.Create();
  }

  DeviceKind kind() const override { return DeviceKind::kCuda; }
  std::string Description() const override { return description_; }
  CUstream_st* stream() const override { return stream_; }

  absl::StatusOr<void*> Allocate(absl::string_view what, int64_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, static_cast<size_t>(bytes));
    if (error != cudaSuccess) {
      return DeviceError(
          "out of memory", what,
          absl::StrCat(bytes, " bytes of GPU ", index_, ": ", cudaGetErrorString(error)));
    }
    RETURN_IF_ERROR(Fill(memory, 0, bytes));
    RETURN_IF_ERROR(Synchronize());  // for the stream of copies too
    return memory;
  }
  void Free(void* memory, int64_t /*bytes*/) override {
    for (cudaStream_t stream : {stream_, copy_stream_}) cudaStreamSynchronize(stream);
    cudaFree(memory);
  }

  absl::Status CopyToDevice(void* to, const void* from, int64_t bytes) override {
    return staging_.Copy(static_cast<char*>(to), static_cast<const char*>(from), bytes, stream_);
  }
  absl::Status BeginCopies(int place) override {
    return Check(cudaStreamWaitEvent(copy_stream_, places_[place].used, 0), "cannot wait");
  }
  absl::Status CopyAhead(void* to, const void* from, int64_t bytes) override {
    return ahead_staging_.Copy(static_cast<char*>(to), static_cast<const char*>(from), bytes,
                               copy_stream_);
  }
  absl::Status EndCopies(int place) override {
    return Check(cudaEventRecord(places_[place].copied, copy_stream_), "cannot record an event");
  }
  absl::Status BeginUse(int place) override {
    return Check(cudaStreamWaitEvent(stream_, places_[place].copied, 0), "cannot wait");
  }
  absl::Status EndUse(int place) override {
    return Check(cudaEventRecord(places_[place].used, stream_), "cannot record an event");
  }
  absl::Status CopyToHost(void* to, const void* from, int64_t bytes) override {
    for (int64_t done = 0; done < bytes; done += kReadbackBytes) {
      const auto part = static_cast<size_t>(std::min(bytes - done, kReadbackBytes));
      RETURN_IF_ERROR(Check(cudaMemcpyAsync(readback_, static_cast<const char*>(from) + done, part,
                                            cudaMemcpyDeviceToHost, stream_),
                            "cannot copy from the GPU", absl::StrCat(part, " bytes")));
      RETURN_IF_ERROR(Synchronize());
      std::memcpy(static_cast<char*>(to) + done, readback_, part);
    }
    return absl::OkStatus();
  }
  absl::Status Fill(void* memory, uint8_t byte, int64_t bytes) override {
    return Check(cudaMemsetAsync(memory, byte, static_cast<size_t>(bytes), stream_),
                 "cannot fill memory of the GPU", absl::StrCat(bytes, " bytes"));
  }
  absl::Status Synchronize() override {
    return Check(cudaStreamSynchronize(stream_), "a kernel or a copy failed",
                 absl::StrCat("GPU ", index_));
  }

 private:
  static constexpr int64_t kReadbackBytes = int64_t{1} << 20;

  int index_ = 0;
  std::string description_;
  cudaStream_t stream_ = nullptr, copy_stream_ = nullptr;
  struct Place {
    cudaEvent_t copied = nullptr, used = nullptr;  // an event that was never recorded is done
  };
  std::array<Place, 2> places_;
  StagingRing staging_, ahead_staging_;  // of the two streams
  char* readback_ = nullptr;             // pinned
};

}  // namespace

bool BuiltWithCuda() { return true; }

absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int local_rank) {
  int gpus = 0;
  const cudaError_t error = cudaGetDeviceCount(&gpus);
  if (error != cudaSuccess || gpus == 0) {
    return DeviceError("there is no GPU", "runtime.device cuda",
                       error == cudaSuccess ? "" : cudaGetErrorString(error));
  }
  // A launcher that shows each rank one GPU has chosen it; that they differ is seen when ranks meet
  // (MakeNcclCommunicator).
  const int index = gpus == 1 ? 0 : local_rank;
  if (index >= gpus) {
    return DeviceError("more ranks on this machine than GPUs", "runtime.device cuda",
                       absl::StrCat("rank ", local_rank, " of this machine, ", gpus, " GPUs"));
  }
  auto device = std::make_unique<CudaDevice>();
  RETURN_IF_ERROR(device->Create(index));
  return device;
}

}  // namespace sluice
