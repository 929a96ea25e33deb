// Bit operations: logic, shifts, fields, permutations, counts.
#include <algorithm>

#include "emulator/lanes.h"
#include "emulator/number_operations.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {
namespace {

template <typename T, typename Op>
void Logic(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<T, T, T>(warp, i, lanes, [](T a, T b) { return Op::template Of<T>(a, b); });
}
template <typename T>
void Not(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<T, T>(warp, i, lanes, [](T a) { return static_cast<T>(~a); });
}
template <typename T>
void ShiftLeft(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<T, T, u32>(warp, i, lanes,
                  [](T a, u32 b) { return b < 8 * sizeof(T) ? static_cast<T>(a << b) : T{0}; });
}
template <typename T>
void ShiftRight(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<T, T, u32>(warp, i, lanes, [](T a, u32 b) {
    if (b < 8 * sizeof(T)) return static_cast<T>(a >> b);
    return std::is_signed_v<T> && a < 0 ? static_cast<T>(-1) : T{0};
  });
}

// Each nibble of c picks a byte of b:a, or its sign.
void Permute(Warp& warp, const Instruction& i, u32 lanes) {
  Map3<u32, u32, u32, u32>(warp, i, lanes, [](u32 a, u32 b, u32 c) {
    const u64 bytes = a | static_cast<u64>(b) << 32;
    u32 out = 0;
    for (int k = 0; k < 4; ++k) {
      const u32 selector = c >> (4 * k);
      const auto byte = static_cast<u32>(bytes >> (8 * (selector & 7)) & 0xff);
      const u32 sign = (byte & 0x80) != 0 ? 0xff : 0;
      out |= ((selector & 8) != 0 ? sign : byte) << (8 * k);
    }
    return out;
  });
}

// Any function of three bits: bit (a b c) of the table.
void Logic3(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 table = Lanes<u32>(warp, i.operands[4])[0];
  Map3<u32, u32, u32, u32>(warp, i, lanes, [table](u32 a, u32 b, u32 c) {
    u32 out = 0;
    for (int k = 0; k < 8; ++k) {
      if ((table >> k & 1) == 0) continue;
      out |= ((k & 4) != 0 ? a : ~a) & ((k & 2) != 0 ? b : ~b) & ((k & 1) != 0 ? c : ~c);
    }
    return out;
  });
}

// Of b:a as 64 bits. detail: the count wraps at 32 instead of stopping there
template <bool left>
void FunnelShift(Warp& warp, const Instruction& i, u32 lanes) {
  const bool wraps = i.detail != 0;
  Map3<u32, u32, u32, u32>(warp, i, lanes, [wraps](u32 a, u32 b, u32 c) {
    const u64 whole = a | static_cast<u64>(b) << 32;
    const u32 n = wraps ? c & 31 : std::min(c, 32u);
    return static_cast<u32>(left ? whole << n >> 32 : whole >> n);
  });
}

template <typename T>
void ExtractField(Warp& warp, const Instruction& i, u32 lanes) {
  Map3<T, T, u32, u32>(warp, i, lanes, [](T a, u32 position, u32 length) -> T {
    constexpr u32 kBits = 8 * sizeof(T);
    position &= 255;
    length &= 255;
    if (length == 0) return 0;
    if (position >= kBits) return std::is_signed_v<T> && a < 0 ? static_cast<T>(-1) : T{0};
    length = std::min(length, kBits - position);
    const auto shifted = static_cast<std::make_unsigned_t<T>>(a) << (kBits - length - position);
    return static_cast<T>(static_cast<T>(shifted) >> (kBits - length));
  });
}
// d, a, b, position, length: the low bits of a into b
template <typename T>
void InsertField(Warp& warp, const Instruction& i, u32 lanes) {
  constexpr u32 kBits = 8 * sizeof(T);
  const T *a = Lanes<T>(warp, i.operands[1]), *b = Lanes<T>(warp, i.operands[2]);
  const u32 *position = Lanes<u32>(warp, i.operands[3]), *length = Lanes<u32>(warp, i.operands[4]);
  T out[32];
  for (int l = 0; l < 32; ++l) {
    const u32 at = position[l] & 255, n = std::min(length[l] & 255, kBits);
    const T field = n == kBits ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << n) - 1);
    out[l] = at >= kBits ? b[l] : (b[l] & ~(field << at)) | ((a[l] & field) << at);
  }
  SetLanes<T>(warp, i.operands[0], lanes, out);
}

template <typename T>
void CountOnes(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<u32, T>(warp, i, lanes, [](T a) { return static_cast<u32>(__builtin_popcountll(a)); });
}
template <typename T>
void CountLeadingZeros(Warp& warp, const Instruction& i, u32 lanes) {
  constexpr u32 kBits = 8 * sizeof(T);
  Map1<u32, T>(warp, i, lanes, [](T a) {
    return a == 0 ? kBits : static_cast<u32>(__builtin_clzll(a)) - (64 - kBits);
  });
}
template <typename T>
void Reverse(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<T, T>(warp, i, lanes, [](T a) {
    T out = 0;
    for (u32 bit = 0; bit < 8 * sizeof(T); ++bit)
      out |= (a >> bit & 1) << (8 * sizeof(T) - 1 - bit);
    return out;
  });
}
// The index of the highest one; of the highest bit that differs from the sign for signed types.
// detail: how far it is from the top instead
template <typename T>
void FindHighest(Warp& warp, const Instruction& i, u32 lanes) {
  constexpr u32 kBits = 8 * sizeof(T);
  const bool distance = i.detail != 0;
  Map1<u32, T>(warp, i, lanes, [distance](T value) {
    auto a = static_cast<std::make_unsigned_t<T>>(value);
    if (std::is_signed_v<T> && value < 0) a = static_cast<std::make_unsigned_t<T>>(~a);
    if (a == 0) return ~0u;
    const u32 index = 63 - static_cast<u32>(__builtin_clzll(a));
    return distance ? kBits - 1 - index : index;
  });
}

}  // namespace

Operation SelectBits(Instruction& i, const Opcode& op) {
  const std::string& type = op.type();
#define SLUICE_AND(T) (Logic<T, And>)
  if (op.Is("and")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_AND, type);
#define SLUICE_OR(T) (Logic<T, Or>)
  if (op.Is("or")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_OR, type);
#define SLUICE_XOR(T) (Logic<T, Xor>)
  if (op.Is("xor")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_XOR, type);
#define SLUICE_NOT(T) Not<T>
  if (op.Is("not")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_NOT, type);
#define SLUICE_SHIFT_LEFT(T) ShiftLeft<T>
  if (op.Is("shl")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_SHIFT_LEFT, type);
#define SLUICE_SHIFT_RIGHT(T) ShiftRight<T>
  if (op.Is("shr")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_SHIFT_RIGHT, type);
  const bool wide = TypeBytes(type == "pred" || !IsSizedType(type) ? "b32" : type) == 8;
  if (op.Is("prmt") && op.parts.size() == 2) return Permute;
  if (op.Is("lop3") && op.parts.size() == 2) return Logic3;
  if (op.Is("shf")) {
    i.detail = op.Has("wrap") ? 1 : 0;
    return op.Has("l") ? FunnelShift<true> : FunnelShift<false>;
  }
#define SLUICE_EXTRACT(T) ExtractField<T>
  if (op.Is("bfe")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_EXTRACT, type);
  if (op.Is("bfi")) return wide ? InsertField<u64> : InsertField<u32>;
  if (op.Is("popc")) return wide ? CountOnes<u64> : CountOnes<u32>;
  if (op.Is("clz")) return wide ? CountLeadingZeros<u64> : CountLeadingZeros<u32>;
  if (op.Is("brev")) return wide ? Reverse<u64> : Reverse<u32>;
  i.detail = op.Is("bfind") && op.Has("shiftamt") ? 1 : i.detail;
#define SLUICE_FIND_HIGHEST(T) FindHighest<T>
  return op.Is("bfind") ? SLUICE_EMULATOR_BY_INTEGER(SLUICE_FIND_HIGHEST, type) : nullptr;
}

}  // namespace sluice::emulator
