// Device code's way to global memory: which allocation an address is in, and what may be touched.
#include "emulator/device_memory.h"
#include "emulator/machine.h"
#include "emulator/memory_order.h"
#include "emulator/profile.h"

namespace sluice::emulator {
namespace {

unsigned long Number(u64 value) { return static_cast<unsigned long>(value); }

// Stops the program unless [at, at + bytes) may be touched.
const Allocation& Check(Warp& warp, const Instruction& i, int lane, u64 at, u32 bytes) {
  const Allocation* allocation = IsDeviceAddress(at) ? FindAllocation(at) : nullptr;
  if (allocation == nullptr) {
    Fail(warp, i, lane, "global address %#lx is in no allocation", Number(at));
  }
  const u64 size = allocation->end - allocation->begin;
  if (allocation->freed) {
    Fail(warp, i, lane,
         "global address %#lx is byte %lu of an allocation of %lu bytes that was freed", Number(at),
         Number(at - allocation->begin), Number(size));
  }
  if (at + bytes > allocation->usable_end) {
    Fail(warp, i, lane,
         "global address %#lx is %ld bytes past the end of an allocation of %lu bytes", Number(at),
         static_cast<long>(at - allocation->usable_end),
         Number(allocation->usable_end - allocation->usable_begin));
  }
  if (at < allocation->usable_begin) {
    Fail(warp, i, lane, "global address %#lx is %lu bytes before the allocation begins", Number(at),
         Number(allocation->usable_begin - at));
  }
  return *allocation;
}

[[noreturn]] void FailOnConflict(const Warp& warp, const Instruction& i, int lane,
                                 const Conflict& conflict, Access access) {
  const char* mine = access == Access::kRead ? "reads" : "writes";
  const char* theirs = conflict.with_write ? "writes" : "reads";
  if (conflict.kind == Conflict::kTask) {
    Fail(warp, i, lane, "%s memory that %s %s, with no wait in between", mine,
         TaskName(conflict.owner).c_str(), theirs);
  }
  if (conflict.kind == Conflict::kThread) {
    Fail(warp, i, lane,
         "a race on global memory: %s what thread %s of the block %s, with no barrier in between",
         mine, ThreadName(*warp.block, conflict.thread).c_str(), theirs);
  }
  Fail(warp, i, lane, "a race on global memory: %s what another block of the kernel %s", mine,
       theirs);
}

}  // namespace

u8* GlobalAddress(Warp& warp, const Instruction& i, int lane, u64 at, u32 bytes, Access access) {
  if (at % bytes != 0) {
    Fail(warp, i, lane, "global address %#lx isn't a multiple of %u", Number(at), bytes);
  }
  if (at < warp.cached_begin || at + bytes > warp.cached_end) {
    const Allocation& allocation = Check(warp, i, lane, at, bytes);
    warp.cached_begin = allocation.usable_begin;
    warp.cached_end = allocation.usable_end;
    warp.cached_shift = static_cast<s64>(reinterpret_cast<u64>(HostView(at)) - at);
  }
  if (profiling) NoteSectors(at, bytes, access);
  const Block& block = *warp.block;
  const bool orders_itself = block.kernel->has_fences && block.kernel->has_atomics;
  const Conflict conflict =
      NoteAccess(*block.task, {block.number, static_cast<u32>(warp.index * 32 + lane), warp.time},
                 {at, bytes, access, orders_itself});
  if (conflict.kind != Conflict::kNone) FailOnConflict(warp, i, lane, conflict, access);
  return reinterpret_cast<u8*>(at + static_cast<u64>(warp.cached_shift));
}

}  // namespace sluice::emulator
