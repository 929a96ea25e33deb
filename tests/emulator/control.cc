// Branches, barriers, fences, traps, and the choice among all families.
#include <cstdio>
#include <cstdlib>

#include "emulator/lanes.h"
#include "emulator/ptx_text.h"
#include "emulator/warp_operations.h"

namespace sluice::emulator {
namespace {

void TakeBranch(Warp& warp, const Instruction& i, u32 lanes) { Branch(warp, lanes, i.target); }

void ExitLanes(Warp& warp, const Instruction& i, u32 lanes) {
  for (const AsyncCopy& copy : warp.copies) {
    if ((lanes >> copy.lane & 1) != 0) {
      Fail(warp, i, copy.lane, "exits with a cp.async that it never waited for");
    }
  }
  Exit(warp, lanes);
}

enum Reduction : u8 { kNoReduction, kCount, kAllOf, kAnyOf };

// bar.sync id[, threads] and bar.red d, id[, threads], [!]p. bytes: the reduction; elements: 2 if p
// is negated
void BlockBarrier(Warp& warp, const Instruction& i, u32 lanes) {
  if (lanes != warp.live) {
    if (!WaitForOthers(warp)) {
      Fail(warp, i, __builtin_ctz(lanes), "only lanes %#x of the warp's %#x come to this barrier",
           lanes, warp.live);
    }
    return;
  }
  const int lane = __builtin_ctz(lanes);
  warp.state = Warp::kAtBarrier;
  warp.barrier = &i;
  const int first = i.bytes == kNoReduction ? 0 : 1;
  warp.barrier_id = Lanes<u32>(warp, i.operands[first])[lane];
  const bool counted = i.count == first + (i.bytes == kNoReduction ? 2 : 3);
  warp.barrier_threads = counted ? Lanes<u32>(warp, i.operands[first + 1])[lane] : 0;
  if (warp.barrier_id > 15)
    Fail(warp, i, lane, "there are barriers 0 to 15, not %u", warp.barrier_id);
  if (warp.barrier_threads % 32 != 0) {
    Fail(warp, i, lane, "a barrier of %u threads, not a multiple of 32", warp.barrier_threads);
  }
}

u32 VotesOf(const Warp& warp) {
  const Instruction& i = *warp.barrier;
  const u32 p = warp.predicates[i.operands[i.count - 1]] ^ (i.elements == 2 ? ~0u : 0);
  return static_cast<u32>(__builtin_popcount(p & warp.live));
}

}  // namespace

void FinishBarrier(const std::vector<Warp*>& warps) {
  const Instruction& i = *warps.front()->barrier;
  if (i.bytes == kNoReduction) return;
  u32 votes = 0, threads = 0;
  for (const Warp* warp : warps) {
    votes += VotesOf(*warp);
    threads += static_cast<u32>(__builtin_popcount(warp->live));
  }
  const bool result = i.bytes == kAllOf ? votes == threads : votes > 0;
  for (Warp* warp : warps) {
    if (i.bytes != kCount) {
      SetPredicate(*warp, i.operands[0], warp->live, result ? ~0u : 0);
      continue;
    }
    u32 out[32];
    for (u32& lane : out) lane = votes;
    SetLanes<u32>(*warp, i.operands[0], warp->live, out);
  }
}

namespace {

void WarpBarrier(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 mask = Lanes<u32>(warp, i.operands[0])[__builtin_ctz(lanes)];
  if (AllHere(warp, i, mask, lanes)) ++warp.time;
}

void Nothing(Warp& /*warp*/, const Instruction& /*i*/, u32 /*lanes*/) {}
void FailedAssertion(Warp& warp, const Instruction& i, u32 lanes) {
  Fail(warp, i, __builtin_ctz(lanes), "a failed assertion");
}
void Trap(Warp& warp, const Instruction& i, u32 lanes) {
  Fail(warp, i, __builtin_ctz(lanes), "trap");
}
void Unknown(Warp& warp, const Instruction& i, u32 lanes) {
  Fail(warp, i, __builtin_ctz(lanes), "an instruction that the emulator doesn't know");
}

}  // namespace

Operation SelectControl(Instruction& i, const Opcode& op) {
  if (op.Is("bra")) return TakeBranch;
  if (op.IsOneOf({"ret", "exit"})) return ExitLanes;
  if (op.Is("bar") && op.Has("warp")) return WarpBarrier;
  if (op.IsOneOf({"bar", "barrier"}) && op.Has("sync") && !op.Has("cluster")) return BlockBarrier;
  if (op.IsOneOf({"bar", "barrier"}) && op.Has("red") && !op.Has("cluster")) {
    i.elements = i.detail == 1 ? 2 : 1;
    i.bytes = op.Has("popc") ? kCount : op.Has("and") ? kAllOf : kAnyOf;
    return BlockBarrier;
  }
  if (op.IsOneOf({"membar", "fence", "prefetch", "prefetchu", "nanosleep", "griddepcontrol"})) {
    return Nothing;
  }
  if (op.Is("trap")) return Trap;
  if (op.Is("call") && i.text.find("__assertfail") != std::string::npos) return FailedAssertion;
  return op.Is("call") && i.text.find("vprintf") != std::string::npos ? Nothing : nullptr;
}

void SelectOperation(Instruction& i, const Opcode& op) {
  i.synchronizes = op.IsOneOf(
      {"shfl", "vote", "redux", "match", "mma", "ldmatrix", "stmatrix", "bar", "barrier"});
  for (const auto select :
       {SelectHalf, SelectComparison, SelectConversion, SelectMemory, SelectAtomic, SelectWarp,
        SelectMatrix, SelectAsyncCopy, SelectControl, SelectArithmetic, SelectBits}) {
    i.run = select(i, op);
    if (i.run != nullptr) return;
  }
  i.run = Unknown;
  if (std::getenv("SLUICE_EMULATOR_LIST_UNKNOWN") != nullptr) {
    std::fprintf(stderr, "emulator: unknown: %s\n", i.text.c_str());
  }
}

}  // namespace sluice::emulator
