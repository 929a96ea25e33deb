#include "runtime/device.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/error.h"

namespace sluice {
namespace {

class CpuDevice : public Device {
 public:
  DeviceKind kind() const override { return DeviceKind::kCpu; }
  std::string Description() const override { return "CPU"; }
  CUstream_st* stream() const override { return nullptr; }

  // Fresh pages are zero already, so what is never used costs nothing.
  absl::StatusOr<void*> Allocate(absl::string_view what, int64_t bytes) override {
    void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      return DeviceError("out of memory", what,
                         absl::StrCat(bytes, " bytes: ", std::strerror(errno)));
    }
#ifdef MADV_HUGEPAGE
    madvise(memory, static_cast<size_t>(bytes),
            MADV_HUGEPAGE);  // fewer TLB misses; a refusal costs nothing
#endif
    return memory;
  }
  void Free(void* memory, int64_t bytes) override { munmap(memory, static_cast<size_t>(bytes)); }

  absl::Status CopyToDevice(void* to, const void* from, int64_t bytes) override {
    return CopyToHost(to, from, bytes);
  }
  // What a call does is done when it returns, so nothing has to wait.
  absl::Status BeginCopies(int /*place*/) override { return absl::OkStatus(); }
  absl::Status CopyAhead(void* to, const void* from, int64_t bytes) override {
    return CopyToHost(to, from, bytes);
  }
  absl::Status EndCopies(int /*place*/) override { return absl::OkStatus(); }
  absl::Status BeginUse(int /*place*/) override { return absl::OkStatus(); }
  absl::Status EndUse(int /*place*/) override { return absl::OkStatus(); }
  absl::Status CopyToHost(void* to, const void* from, int64_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
    return absl::OkStatus();
  }
  absl::Status Fill(void* memory, uint8_t byte, int64_t bytes) override {
    if (bytes > 0) std::memset(memory, byte, static_cast<size_t>(bytes));
    return absl::OkStatus();
  }
  absl::Status Synchronize() override { return absl::OkStatus(); }
};

}  // namespace

std::unique_ptr<Device> Device::OpenCpu() { return std::make_unique<CpuDevice>(); }

absl::StatusOr<std::unique_ptr<Device>> Device::Open(absl::string_view name, int local_rank) {
  if (name == "cpu") return OpenCpu();
  if (name == "cuda") return OpenCudaDevice(local_rank);
  return UsageError("unknown runtime.device", name, "known: cpu, cuda");
}

}  // namespace sluice
