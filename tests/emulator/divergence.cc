#include <algorithm>

#include "emulator/machine.h"

namespace sluice::emulator {
namespace {

template <typename Body>
void ForEachLane(u32 lanes, const Body& body) {
  for (; lanes != 0; lanes &= lanes - 1) body(__builtin_ctz(lanes));
}

u32 LowestPlace(const Warp& warp, u32 lanes) {
  u32 pc = ~0u;
  ForEachLane(lanes, [&](int lane) { pc = std::min(pc, warp.lane_pc[lane]); });
  return pc;
}

// Of the groups of lanes at different places, the one at the lowest place goes on.
void ResumeLowestGroup(Warp& warp) {
  if ((warp.others & ~warp.waiting) == 0) {
    warp.waiting = 0;  // the first to wait tries again, and says what is missing
    warp.stuck = true;
  }
  const u32 candidates = warp.others & ~warp.waiting;
  warp.pc = LowestPlace(warp, candidates);
  warp.active = 0;
  ForEachLane(candidates, [&](int lane) {
    if (warp.lane_pc[lane] == warp.pc) warp.active |= 1u << lane;
  });
  warp.others &= ~warp.active;
  warp.merge_pc = LowestPlace(warp, warp.others & ~warp.waiting);
}

void Park(Warp& warp, u32 lanes, u32 pc) {
  ForEachLane(lanes, [&](int lane) { warp.lane_pc[lane] = pc; });
  warp.others |= lanes;
}

}  // namespace

void Yield(Warp& warp, u32 pc) {
  Park(warp, warp.active, pc);
  ResumeLowestGroup(warp);
}

bool WaitForOthers(Warp& warp) {
  if (warp.stuck || (warp.others & ~warp.waiting) == 0) return false;
  warp.waiting |= warp.active;
  Yield(warp, warp.pc - 1);
  return true;
}

void JoinWaiting(Warp& warp) {
  ForEachLane(warp.waiting, [&](int lane) {
    if (warp.lane_pc[lane] != warp.pc) return;
    warp.active |= 1u << lane;
    warp.others &= ~(1u << lane);
    warp.waiting &= ~(1u << lane);
  });
}

void Branch(Warp& warp, u32 taken, u32 target) {
  if (taken == warp.active) {
    warp.pc = target;
    return;
  }
  Park(warp, warp.active & ~taken, warp.pc);
  Park(warp, taken, target);
  ResumeLowestGroup(warp);
}

void Exit(Warp& warp, u32 lanes) {
  warp.live &= ~lanes;
  warp.active &= ~lanes;
  if (warp.active != 0) return;
  if (warp.others != 0) {
    ResumeLowestGroup(warp);
  } else {
    warp.state = Warp::kDone;
  }
}

}  // namespace sluice::emulator
