// atom and red, on shared and global memory.
#include "emulator/half.h"
#include "emulator/lanes.h"
#include "emulator/number_operations.h"
#include "emulator/ptx_text.h"
#include "emulator/shared_memory.h"

namespace sluice::emulator {
namespace {

enum Space { kGeneric, kGlobal, kShared };

template <typename T, int space>
T* Reach(Warp& warp, const Instruction& i, int lane, u64 at) {
  const bool in_shared =
      space == kShared || (space == kGeneric && at - kSharedWindow < kWindowBytes);
  u8* memory = in_shared ? SharedAddress(warp, i, lane, static_cast<u32>(at), sizeof(T))
                         : GlobalAddress(warp, i, lane, at, sizeof(T), Access::kAtomic);
  return reinterpret_cast<T*>(memory);
}

// atom d, [a], b; red [a], b has no result.
template <typename T, typename Op, int space, bool has_result>
void Atomic(Warp& warp, const Instruction& i, u32 lanes) {
  constexpr int kAddress = has_result ? 1 : 0;
  ForEachLane(lanes, [&](int lane) {
    T* memory = Reach<T, space>(warp, i, lane, AddressIn(warp, i, i.operands[kAddress], lane));
    const T value = FromCell<T>(Lanes<T>(warp, i.operands[kAddress + 1])[lane]);
    T old, updated;
    __atomic_load(memory, &old, __ATOMIC_RELAXED);
    do {
      updated = Op::template Of<T>(old, value);
    } while (!__atomic_compare_exchange(memory, &old, &updated, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    if constexpr (has_result) Lanes<T>(warp, i.operands[0])[lane] = ToCell<T>(old);
  });
}

// atom.cas d, [a], expected, new
template <typename T, int space>
void CompareAndSwap(Warp& warp, const Instruction& i, u32 lanes) {
  ForEachLane(lanes, [&](int lane) {
    T* memory = Reach<T, space>(warp, i, lane, AddressIn(warp, i, i.operands[1], lane));
    T old = FromCell<T>(Lanes<T>(warp, i.operands[2])[lane]);
    const T replacement = FromCell<T>(Lanes<T>(warp, i.operands[3])[lane]);
    __atomic_compare_exchange_n(memory, &old, replacement, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
    Lanes<T>(warp, i.operands[0])[lane] = ToCell<T>(old);
  });
}

template <typename Half>
struct AddPairs {
  template <typename T>
  static T Of(T a, T b) {
    return OnHalves<Half, true>([](float x, float y, float) { return x + y; }, a, b);
  }
};

template <typename Op, int space, bool has_result>
Operation ForNumber(const std::string& type) {
  return type == "f32"                    ? Atomic<float, Op, space, has_result>
         : type == "f64"                  ? Atomic<double, Op, space, has_result>
         : type == "s32"                  ? Atomic<s32, Op, space, has_result>
         : type == "s64"                  ? Atomic<s64, Op, space, has_result>
         : type == "u64" || type == "b64" ? Atomic<u64, Op, space, has_result>
         : type == "u32" || type == "b32" ? Atomic<u32, Op, space, has_result>
                                          : nullptr;
}
template <typename Op, int space, bool has_result>
Operation ForBits(const std::string& type) {
  return type == "b64" || type == "u64" ? Atomic<u64, Op, space, has_result>
                                        : Atomic<u32, Op, space, has_result>;
}

template <int space, bool has_result>
Operation ForOperation(const Opcode& op) {
  const std::string& type = op.type();
  if (op.Has("add")) {
    if (type == "bf16x2") return Atomic<u32, AddPairs<Bf16>, space, has_result>;
    if (type == "f16x2") return Atomic<u32, AddPairs<Fp16>, space, has_result>;
    return ForNumber<Add, space, has_result>(type);
  }
  if (op.Has("min")) return ForNumber<Minimum, space, has_result>(type);
  if (op.Has("max")) return ForNumber<Maximum, space, has_result>(type);
  if (op.Has("and")) return ForBits<And, space, has_result>(type);
  if (op.Has("or")) return ForBits<Or, space, has_result>(type);
  if (op.Has("xor")) return ForBits<Xor, space, has_result>(type);
  if (op.Has("exch")) return ForBits<Exchange, space, has_result>(type);
  if (op.Has("inc")) return Atomic<u32, Increment, space, has_result>;
  return op.Has("dec") ? Atomic<u32, Decrement, space, has_result> : nullptr;
}

template <int space>
Operation ForSpace(const Opcode& op) {
  if (op.Has("cas")) {
    return TypeBytes(op.type()) == 8 ? CompareAndSwap<u64, space> : CompareAndSwap<u32, space>;
  }
  return op.Is("red") ? ForOperation<space, false>(op) : ForOperation<space, true>(op);
}

}  // namespace

Operation SelectAtomic(Instruction& /*i*/, const Opcode& op) {
  if (!op.IsOneOf({"atom", "red"})) return nullptr;
  if (op.Has("cas") && TypeBytes(op.type()) < 4) return nullptr;
  if (op.Has("shared") || op.Has("shared::cta")) return ForSpace<kShared>(op);
  return op.Has("global") ? ForSpace<kGlobal>(op) : ForSpace<kGeneric>(op);
}

}  // namespace sluice::emulator
