// The device's memory. Addresses that cudaMalloc returns are closed to the host: the emulator
// reaches the same bytes through a second mapping, so host code that touches device memory is
// stopped at once. Managed and pinned memory is open to both. Addresses are never used twice,
// so that a use after cudaFree is told from a use of something newer.
#pragma once

#include <cstddef>

#include "emulator/program.h"

namespace sluice::emulator {

enum class MemoryKind : u8 { kDevice, kManaged, kPinned, kVariable };
const char* NameOf(MemoryKind kind);  // "managed"

struct Allocation {
  u64 begin, end;                // as it was asked for
  u64 usable_begin, usable_end;  // what device code may touch: all of it, but for NarrowMemory
  MemoryKind kind;
  bool freed;
};

// Filled with 0xFF (NaN in every float type). 256 bytes aligned, and never more.
u64 AllocateMemory(size_t bytes, MemoryKind kind);
// False when `at` does not begin an allocation of this kind that is not freed yet.
bool FreeMemory(u64 at, MemoryKind kind);
// Device code may touch only these bytes of the allocation from now on: canaries of tests.
void NarrowMemory(const void* begin, size_t bytes);

// The allocation that holds `at`, or the one that held it; null for memory that is not ours.
const Allocation* FindAllocation(u64 at);
// Where the emulator allocates.
struct Region {
  u64 begin, bytes;
};
Region DeviceRegion();
bool IsDeviceAddress(u64 at);  // in there

// Where the emulator and the stand-ins of libraries reach `at`, without any check.
u8* HostView(u64 at);
inline u8* HostView(const void* at) { return HostView(reinterpret_cast<u64>(at)); }

struct MemoryUse {
  size_t bytes_now, bytes_at_most, allocations_now;
};
MemoryUse CurrentMemoryUse(MemoryKind kind);
size_t TotalMemory();  // that the emulated device claims to have

}  // namespace sluice::emulator
