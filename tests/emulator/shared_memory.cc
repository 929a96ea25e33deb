#include "emulator/shared_memory.h"

#include <cstdlib>
#include <cstring>

#include "emulator/lanes.h"

namespace sluice::emulator {
namespace {

const bool strict = std::getenv("SLUICE_EMULATOR_UNINITIALIZED") == nullptr;

bool SameEpoch(u32 a, u32 b) { return a >> 8 == b >> 8; }

// Were these by other threads and with no barrier since? `time`: of the earlier access.
bool IsUnordered(const Warp& warp, u32 thread, u32 me, u32 time) {
  if (thread == me || !SameEpoch(time, warp.time)) return false;
  return thread / 32 != static_cast<u32>(warp.index) || time == warp.time;
}
bool IsReadUnordered(const Warp& warp, const Shadow& shadow, u32 me) {
  if (!SameEpoch(shadow.read_time, warp.time)) return false;
  if (shadow.warps_read != 0 || shadow.reader / 32u != static_cast<u32>(warp.index)) return true;
  return shadow.read_time == warp.time && (shadow.reader != me || shadow.lanes_read != 0);
}

void CheckPlace(Warp& warp, const Instruction& i, int lane, const Shadow& shadow, u32 at,
                const char* verb) {
  if (shadow.red_zone != 0) {
    Fail(warp, i, lane, "%s shared memory between two variables, at %#x", verb, at);
  }
  if (shadow.in_flight != 0) {
    Fail(warp, i, lane,
         "%s shared memory at %#x that a cp.async of thread %s, not waited for, writes", verb, at,
         ThreadName(*warp.block, shadow.writer).c_str());
  }
}

}  // namespace

u8* SharedAddress(Warp& warp, const Instruction& i, int lane, u32 at, u32 bytes) {
  if (at % bytes != 0) Fail(warp, i, lane, "shared address %#x isn't a multiple of %u", at, bytes);
  if (static_cast<u64>(at) + bytes > warp.block->shared_bytes) {
    Fail(warp, i, lane, "shared address %#x is beyond the block's %u bytes", at,
         warp.block->shared_bytes);
  }
  return warp.block->shared + at;
}

void CheckSharedRead(Warp& warp, const Instruction& i, int lane, u32 at, u32 bytes) {
  const u32 me = ThreadOf(warp, lane);
  Shadow* const end = warp.block->shadow + (at + bytes + 1) / 2;
  for (Shadow* shadow = warp.block->shadow + at / 2; shadow < end; ++shadow) {
    CheckPlace(warp, i, lane, *shadow, at, "reads");
    if (shadow->written == 0 && strict) {
      Fail(warp, i, lane, "reads shared memory that nothing has written, at %#x", at);
    }
    if (IsUnordered(warp, shadow->writer, me, shadow->write_time)) {
      Fail(warp, i, lane,
           "a race on shared memory at %#x: reads what thread %s wrote, with no barrier in between",
           at, ThreadName(*warp.block, shadow->writer).c_str());
    }
    if (!SameEpoch(shadow->read_time, warp.time)) {
      shadow->lanes_read = shadow->warps_read = 0;
    } else if (shadow->reader / 32u != static_cast<u32>(warp.index)) {
      shadow->warps_read = 1;
    } else if (shadow->reader != me) {
      shadow->lanes_read = 1;
    }
    shadow->reader = static_cast<u16>(me);
    shadow->read_time = warp.time;
  }
}

void CheckSharedWrite(Warp& warp, const Instruction& i, int lane, u32 at, u32 bytes,
                      const void* value) {
  const u32 me = ThreadOf(warp, lane);
  const bool same = value != nullptr && std::memcmp(warp.block->shared + at, value, bytes) == 0;
  Shadow* const end = warp.block->shadow + (at + bytes + 1) / 2;
  for (Shadow* shadow = warp.block->shadow + at / 2; shadow < end; ++shadow) {
    CheckPlace(warp, i, lane, *shadow, at, "writes");
    if (!same && shadow->written != 0 &&
        IsUnordered(warp, shadow->writer, me, shadow->write_time)) {
      Fail(warp, i, lane,
           "a race on shared memory at %#x: overwrites what thread %s wrote, with no barrier in "
           "between",
           at, ThreadName(*warp.block, shadow->writer).c_str());
    }
    if (!same && IsReadUnordered(warp, *shadow, me)) {
      Fail(warp, i, lane,
           "a race on shared memory at %#x: overwrites what thread %s reads, with no barrier in "
           "between",
           at, ThreadName(*warp.block, shadow->reader).c_str());
    }
    shadow->written = 1;
    shadow->writer = static_cast<u16>(me);
    shadow->write_time = warp.time;
  }
}

}  // namespace sluice::emulator
