#include "emulator/warp_operations.h"

#include "emulator/lanes.h"
#include "emulator/number_operations.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {

bool AllHere(Warp& warp, const Instruction& i, u32 mask, u32 lanes) {
  if (const u32 gone = mask & ~warp.live; gone != 0) {
    Fail(warp, i, -1, "the mask %#x names lanes that have exited or never were: %#x", mask, gone);
  }
  if ((mask & ~lanes) != 0 && !WaitForOthers(warp)) {
    Fail(warp, i, __builtin_ctz(lanes),
         "lanes %#x of its mask %#x never come: the warp has diverged", mask & ~lanes, mask);
  }
  return (mask & ~lanes) == 0;
}

namespace {

void SetAll(Warp& warp, u32 operand, u32 lanes, u32 value) {
  u32 out[32];
  for (u32& cell : out) cell = value;
  SetLanes<u32>(warp, operand, lanes, out);
}

enum ShuffleMode { kIndex, kUp, kDown, kButterfly };

template <int mode>
int ShuffleSource(int lane, int b, int segment) {
  switch (mode) {
    case kIndex:
      return (lane & segment) | (b & ~segment);
    case kUp:
      return lane - b;
    case kDown:
      return lane + b;
    default:
      return lane ^ b;
  }
}

// shfl d[|p], a, b, c, mask; detail 1: with p
template <int mode>
void Shuffle(Warp& warp, const Instruction& i, u32 lanes) {
  const int shift = i.detail;
  const u32 *a = Lanes<u32>(warp, i.operands[1 + shift]),
            *b = Lanes<u32>(warp, i.operands[2 + shift]);
  const u32* c = Lanes<u32>(warp, i.operands[3 + shift]);
  const u32* masks = Lanes<u32>(warp, i.operands[4 + shift]);
  u32 mask = 0;
  ForEachLane(lanes, [&](int lane) {
    if ((masks[lane] >> lane & 1) == 0) {
      Fail(warp, i, lane, "it isn't in its own mask %#x", masks[lane]);
    }
    mask |= masks[lane];
  });
  if (!AllHere(warp, i, mask, lanes)) return;
  u32 out[32], inside = 0;
  ForEachLane(lanes, [&](int lane) {
    const int segment = static_cast<int>(c[lane] >> 8 & 31), clamp = static_cast<int>(c[lane] & 31);
    const int limit = (lane & segment) | (clamp & ~segment);
    int source = ShuffleSource<mode>(lane, static_cast<int>(b[lane] & 31), segment);
    const bool in_range = mode == kUp ? source >= limit : source <= limit;
    if (!in_range) source = lane;
    if ((~lanes >> source & 1) != 0) {
      Fail(warp, i, lane, "reads the value of lane %d, which takes no part", source);
    }
    out[lane] = a[source];
    inside |= static_cast<u32>(in_range) << lane;
  });
  SetLanes<u32>(warp, i.operands[0], lanes, out);
  if (shift != 0) SetPredicate(warp, i.operands[1], lanes, inside);
}

enum VoteMode { kBallot, kAny, kAll, kUniform };

// vote d, [!]p, mask; detail bit 0: p is negated
template <int mode>
void Vote(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 mask = Lanes<u32>(warp, i.operands[2])[__builtin_ctz(lanes)];
  const u32 p = (warp.predicates[i.operands[1]] ^ ((i.detail & 1) != 0 ? ~0u : 0)) & mask;
  if (!AllHere(warp, i, mask, lanes)) return;
  if (mode == kBallot) return SetAll(warp, i.operands[0], lanes, p);
  const bool result = mode == kAny ? p != 0 : mode == kAll ? p == mask : p == 0 || p == mask;
  SetPredicate(warp, i.operands[0], lanes, result ? ~0u : 0);
}

void ActiveMask(Warp& warp, const Instruction& i, u32 lanes) {
  SetAll(warp, i.operands[0], lanes, lanes);
}

template <typename T, typename Op>
void Reduce(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 mask = Lanes<u32>(warp, i.operands[2])[__builtin_ctz(lanes)];
  if (!AllHere(warp, i, mask, lanes)) return;
  const u32* a = Lanes<T>(warp, i.operands[1]);
  T result = FromCell<T>(a[__builtin_ctz(mask)]);
  ForEachLane(mask & (mask - 1),
              [&](int lane) { result = Op::template Of<T>(result, FromCell<T>(a[lane])); });
  SetAll(warp, i.operands[0], lanes, ToCell<T>(result));
}

// match.any d, a, mask: the lanes that have the same value; match.all d[|p]: the mask if all have.
// detail 1: with p
template <typename T, bool all>
void Match(Warp& warp, const Instruction& i, u32 lanes) {
  const int shift = all ? i.detail : 0;
  const u32 mask = Lanes<u32>(warp, i.operands[2 + shift])[__builtin_ctz(lanes)];
  if (!AllHere(warp, i, mask, lanes)) return;
  const Cell<T>* a = Lanes<T>(warp, i.operands[1 + shift]);
  u32 out[32];
  bool equal = true;
  ForEachLane(mask, [&](int lane) {
    out[lane] = 0;
    ForEachLane(mask,
                [&](int other) { out[lane] |= static_cast<u32>(a[other] == a[lane]) << other; });
    equal = equal && out[lane] == mask;
  });
  if (all)
    return SetAll(warp, i.operands[0], lanes, equal ? mask : 0),
           shift != 0 ? SetPredicate(warp, i.operands[1], lanes, equal ? ~0u : 0) : void();
  SetLanes<u32>(warp, i.operands[0], lanes, out);
}

Operation SelectReduce(const Opcode& op) {
  if (op.type()[0] == 'f') return nullptr;
  const bool is_signed = op.type() == "s32";
  if (op.Has("add")) return Reduce<u32, Add>;
  if (op.Has("and")) return Reduce<u32, And>;
  if (op.Has("or")) return Reduce<u32, Or>;
  if (op.Has("xor")) return Reduce<u32, Xor>;
  if (op.Has("min")) return is_signed ? Reduce<s32, Minimum> : Reduce<u32, Minimum>;
  return is_signed ? Reduce<s32, Maximum> : Reduce<u32, Maximum>;
}

}  // namespace

Operation SelectWarp(Instruction& i, const Opcode& op) {
  if (op.Is("shfl")) {
    i.detail = i.count == 6 ? 1 : 0;
    return op.Has("bfly")   ? Shuffle<kButterfly>
           : op.Has("down") ? Shuffle<kDown>
           : op.Has("up")   ? Shuffle<kUp>
                            : Shuffle<kIndex>;
  }
  if (op.Is("vote")) {
    return op.Has("ballot") ? Vote<kBallot>
           : op.Has("any")  ? Vote<kAny>
           : op.Has("all")  ? Vote<kAll>
                            : Vote<kUniform>;
  }
  if (op.Is("match")) {
    i.detail = i.count == 4 ? 1 : 0;
    const bool wide = op.type() == "b64";
    if (op.Has("all")) return wide ? Match<u64, true> : Match<u32, true>;
    return wide ? Match<u64, false> : Match<u32, false>;
  }
  if (op.Is("activemask")) return ActiveMask;
  return op.Is("redux") ? SelectReduce(op) : nullptr;
}

}  // namespace sluice::emulator
