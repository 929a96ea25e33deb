#include "emulator/device_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "emulator/report.h"

namespace sluice::emulator {
namespace {

constexpr u64 kRegionBytes = u64{1} << 38;  // of address space, for each of the two regions
constexpr u64 kPageBytes = 4096;
constexpr u64 kMisalignment = 256;  // from the page: cudaMalloc promises no more than 256
constexpr size_t kDeviceBytes = size_t{16} << 30;

struct sigaction previous_action;
void OnFault(int signal, siginfo_t* info, void* context);

// The region closed to the host, then the open one.
class Memory {
 public:
  Memory() {
    file_ = memfd_create("sluice_emulator", MFD_CLOEXEC);
    if (file_ < 0 || ftruncate(file_, static_cast<off_t>(2 * kRegionBytes)) != 0) {
      FailOnHost("no memory file for the device's memory");
    }
    begin_ = Map(nullptr, kRegionBytes * 2, PROT_NONE, -1, 0);
    Map(reinterpret_cast<void*>(begin_ + kRegionBytes), kRegionBytes, PROT_READ | PROT_WRITE, file_,
        kRegionBytes);
    view_ = Map(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, file_, 0);
    next_[0] = begin_;
    next_[1] = begin_ + kRegionBytes;
    struct sigaction action = {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &previous_action);
  }

  u64 Allocate(size_t bytes, MemoryKind kind) {
    const std::unique_lock lock(mutex_);
    const int region = IsOpen(kind) ? 1 : 0;
    u64& next = next_[region];
    const u64 begin = next + kMisalignment, end = begin + bytes;
    next = (end + kPageBytes) / kPageBytes * kPageBytes;
    if (next > begin_ + static_cast<u64>(region + 1) * kRegionBytes) {
      FailOnHost("the emulator's address space for device memory is used up");
    }
    allocations_[begin] = {begin, end, begin, end, kind, false};
    MemoryUse& use = use_[static_cast<int>(kind)];
    use.bytes_now += bytes;
    use.bytes_at_most = std::max(use.bytes_at_most, use.bytes_now);
    ++use.allocations_now;
    std::memset(View(begin), 0xff, bytes);
    return begin;
  }

  bool Free(u64 at, MemoryKind kind) {
    const std::unique_lock lock(mutex_);
    const auto found = allocations_.find(at);
    if (found == allocations_.end() || found->second.freed || found->second.kind != kind) {
      return false;
    }
    Allocation& allocation = found->second;
    allocation.freed = true;
    MemoryUse& use = use_[static_cast<int>(kind)];
    use.bytes_now -= allocation.end - allocation.begin;
    --use.allocations_now;
    const u64 first = at / kPageBytes * kPageBytes;
    const u64 last = (allocation.end + kPageBytes - 1) / kPageBytes * kPageBytes;
    // The file is as long as both regions: offsets in it are those from the beginning.
    if (fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(first - begin_), static_cast<off_t>(last - first)) != 0) {
      FailOnHost("cannot give device memory back");
    }
    return true;
  }

  void Narrow(u64 begin, size_t bytes) {
    const std::unique_lock lock(mutex_);
    Allocation* allocation = FindUnlocked(begin);
    if (allocation == nullptr) FailOnHost("narrowing memory that the emulator does not have");
    allocation->usable_begin = begin;
    allocation->usable_end = begin + bytes;
  }

  const Allocation* Find(u64 at) {
    const std::shared_lock lock(mutex_);
    return FindUnlocked(at);
  }

  Region Whole() const { return {begin_, 2 * kRegionBytes}; }
  bool Contains(u64 at) const { return at - begin_ < 2 * kRegionBytes; }
  bool IsClosed(u64 at) const { return at - begin_ < kRegionBytes; }
  u8* View(u64 at) const { return reinterpret_cast<u8*>(IsClosed(at) ? at - begin_ + view_ : at); }
  MemoryUse Use(MemoryKind kind) {
    const std::shared_lock lock(mutex_);
    return use_[static_cast<int>(kind)];
  }

 private:
  static bool IsOpen(MemoryKind kind) {
    return kind == MemoryKind::kManaged || kind == MemoryKind::kPinned;
  }
  static u64 Map(void* at, u64 bytes, int protection, int file, u64 offset) {
    const int flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void* mapped =
        mmap(at, bytes, protection, flags | MAP_NORESERVE | (at != nullptr ? MAP_FIXED : 0), file,
             static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) FailOnHost("no address space for the device's memory");
    return reinterpret_cast<u64>(mapped);
  }
  // The last one that begins at or before `at`, up to the page where the next could begin.
  Allocation* FindUnlocked(u64 at) {
    auto found = allocations_.upper_bound(at);
    if (found == allocations_.begin()) return nullptr;
    --found;
    const u64 end = (found->second.end + kPageBytes) / kPageBytes * kPageBytes;
    return at < end ? &found->second : nullptr;
  }

  int file_;
  u64 begin_, view_, next_[2];
  std::map<u64, Allocation> allocations_;  // by begin; nodes stay where they are
  MemoryUse use_[4] = {};
  std::shared_mutex mutex_;
};

// Used by static initializers, and never destroyed.
Memory& TheMemory() {
  static Memory& memory = *new Memory;
  return memory;
}

void OnFault(int signal, siginfo_t* info, void* context) {
  const u64 at = reinterpret_cast<u64>(info->si_addr);
  if (TheMemory().IsClosed(at)) {
    const Allocation* found = TheMemory().Find(at);
    if (found == nullptr)
      FailOnHost("host code touches device address %#lx, of no allocation",
                 static_cast<unsigned long>(at));
    FailOnHost("host code touches device memory: byte %ld of %lu of a %s allocation%s",
               static_cast<long>(at - found->begin),
               static_cast<unsigned long>(found->end - found->begin), NameOf(found->kind),
               found->freed ? " that was freed" : "");
  }
  if ((previous_action.sa_flags & SA_SIGINFO) != 0)
    return previous_action.sa_sigaction(signal, info, context);
  if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    return previous_action.sa_handler(signal);
  }
  std::signal(SIGSEGV, SIG_DFL);  // the faulting instruction runs again, and ends the process
}

}  // namespace

const char* NameOf(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::kManaged:
      return "managed";
    case MemoryKind::kPinned:
      return "pinned";
    case MemoryKind::kVariable:
      return "__device__ variable";
    default:
      return "cudaMalloc";
  }
}

u64 AllocateMemory(size_t bytes, MemoryKind kind) { return TheMemory().Allocate(bytes, kind); }
bool FreeMemory(u64 at, MemoryKind kind) { return TheMemory().Free(at, kind); }
void NarrowMemory(const void* begin, size_t bytes) {
  TheMemory().Narrow(reinterpret_cast<u64>(begin), bytes);
}
const Allocation* FindAllocation(u64 at) { return TheMemory().Find(at); }
Region DeviceRegion() { return TheMemory().Whole(); }
bool IsDeviceAddress(u64 at) { return TheMemory().Contains(at); }
u8* HostView(u64 at) { return TheMemory().View(at); }
MemoryUse CurrentMemoryUse(MemoryKind kind) { return TheMemory().Use(kind); }
size_t TotalMemory() { return kDeviceBytes; }

}  // namespace sluice::emulator
