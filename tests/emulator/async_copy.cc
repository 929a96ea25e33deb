// cp.async: the destination is in flight until the thread waits; then it counts as written by that
// thread at that time.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "emulator/lanes.h"
#include "emulator/profile.h"
#include "emulator/ptx_text.h"
#include "emulator/shared_memory.h"

namespace sluice::emulator {
namespace {

constexpr u8 kEverything = 255;

// Checks that these may be read; any number of bytes from an aligned address.
const u8* ReadSource(Warp& warp, const Instruction& i, int lane, u64 source, u32 bytes) {
  if (bytes == 4 || bytes == 8 || bytes == 16) {
    return GlobalAddress(warp, i, lane, source, bytes, Access::kRead);
  }
  const u8* first = nullptr;
  for (u32 at = 0; at < bytes; ++at) {
    const u8* byte = GlobalAddress(warp, i, lane, source + at, 1, Access::kRead);
    if (at == 0) first = byte;
  }
  return first;
}

// cp.async [destination], [source], bytes[, source bytes]; the rest is zeros.
void Start(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 bytes = Lanes<u32>(warp, i.operands[2])[0];
  u64 sources[32];
  u32 destinations[32], reading = 0;
  ForEachLane(lanes, [&](int lane) {
    const u32 destination = Lanes<u32>(warp, i.operands[0])[lane];
    const u32 given = i.count > 3 ? Lanes<u32>(warp, i.operands[3])[lane] : bytes;
    const u64 source = Lanes<u64>(warp, i.operands[1])[lane] + static_cast<s64>(i.offset);
    SharedAddress(warp, i, lane, destination, bytes);
    if (source % bytes != 0) {
      Fail(warp, i, lane, "global address %#lx isn't a multiple of %u",
           static_cast<unsigned long>(source), bytes);
    }
    const u8* memory = ReadSource(warp, i, lane, source, std::min(given, bytes));
    CheckSharedWrite(warp, i, lane, destination, bytes, nullptr);
    for (u32 at = destination / 2; at < (destination + bytes) / 2; ++at) {
      warp.block->shadow[at].in_flight = 1;
    }
    std::memset(warp.block->shared + destination, 0xff, bytes);
    warp.copies.push_back({reinterpret_cast<u64>(memory), destination, bytes,
                           std::min(given, bytes), warp.committed[lane], static_cast<u8>(lane)});
    sources[lane] = source;
    destinations[lane] = destination;
    if (given != 0) reading |= 1u << lane;
  });
  if (!profiling) return;
  CountShared(i, destinations, lanes, bytes);
  if (reading != 0) CountGlobal(i, sources, reading, bytes);
}

void Commit(Warp& warp, const Instruction& /*i*/, u32 lanes) {
  ForEachLane(lanes, [&](int lane) { ++warp.committed[lane]; });
}

// detail: how many groups may stay pending; kEverything waits for what is not committed too.
void Wait(Warp& warp, const Instruction& i, u32 lanes) {
  const auto lands = [&](const AsyncCopy& copy) {
    if ((lanes >> copy.lane & 1) == 0) return false;
    return i.detail == kEverything || copy.group + i.detail < warp.committed[copy.lane];
  };
  for (const AsyncCopy& copy : warp.copies) {
    if (!lands(copy)) continue;
    u8* destination = warp.block->shared + copy.destination;
    if (copy.source_bytes != 0) {
      std::memcpy(destination, reinterpret_cast<const void*>(copy.source), copy.source_bytes);
    }
    std::memset(destination + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    for (u32 at = copy.destination / 2; at < (copy.destination + copy.bytes) / 2; ++at) {
      warp.block->shadow[at].in_flight = 0;
      warp.block->shadow[at].write_time = warp.time;
    }
  }
  warp.copies.erase(std::remove_if(warp.copies.begin(), warp.copies.end(), lands),
                    warp.copies.end());
}

}  // namespace

Operation SelectAsyncCopy(Instruction& i, const Opcode& op) {
  if (!op.Is("cp") || !op.Has("async") || op.Has("bulk")) return nullptr;
  if (op.Has("commit_group")) return Commit;
  if (op.Has("wait_all")) {
    i.detail = kEverything;
    return Wait;
  }
  if (op.Has("wait_group")) {
    i.detail = static_cast<u8>(std::atoi(i.text.c_str() + i.text.find_last_of(" \t") + 1));
    return Wait;
  }
  return op.Has("ca") || op.Has("cg") ? Start : nullptr;
}

}  // namespace sluice::emulator
