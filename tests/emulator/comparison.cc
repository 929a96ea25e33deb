// setp and set.
#include <algorithm>
#include <iterator>

#include "emulator/half.h"
#include "emulator/lanes.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {
namespace {

// The unordered forms, with a u, are true when either side is NaN.
enum Comparison { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };
constexpr const char* kNames[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                  "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
constexpr int kComparisons = 14;

template <typename T>
bool Holds(int comparison, T a, T b) {
  const bool unordered = a != a || b != b;
  switch (comparison) {
    case kEq:
      return a == b;
    case kNe:
      return a != b && !unordered;
    case kLt:
      return a < b;
    case kLe:
      return a <= b;
    case kGt:
      return a > b;
    case kGe:
      return a >= b;
    case kEqu:
      return unordered || a == b;
    case kNeu:
      return a != b;
    case kLtu:
      return !(a >= b);
    case kLeu:
      return !(a > b);
    case kGtu:
      return !(a <= b);
    case kGeu:
      return !(a < b);
    case kNum:
      return !unordered;
    default:
      return unordered;
  }
}

template <typename T>
struct Numbers {
  using Value = T;
  static T Get(Cell<T> cell) { return FromCell<T>(cell); }
};
template <typename Half>
struct Halves {
  using Value = u32;
  static float Get(u32 cell) { return Half::Widen(cell & 0xffff); }
};

template <typename Source, int comparison>
u32 Compare(Warp& warp, u32 left, u32 right) {
  const auto* a = Lanes<typename Source::Value>(warp, left);
  const auto* b = Lanes<typename Source::Value>(warp, right);
  u32 result = 0;
  for (int l = 0; l < 32; ++l) {
    result |= static_cast<u32>(Holds(comparison, Source::Get(a[l]), Source::Get(b[l]))) << l;
  }
  return result;
}

// setp.C[.and|.or|.xor].T p[|q], a, b[, [!]c]. bytes: 1, 2, 3 for and, or, xor; detail bit 0: c is
// negated. q is what p is not, before c is combined.
template <typename Source, int comparison>
void SetPredicates(Warp& warp, const Instruction& i, u32 lanes) {
  const int second = i.has_sink || i.elements == 2 ? 1 : 0;
  const u32 result =
      Compare<Source, comparison>(warp, i.operands[1 + second], i.operands[2 + second]);
  const auto combine = [&](u32 value) {
    if (i.bytes == 0) return value;
    const u32 c = warp.predicates[i.operands[3 + second]] ^ ((i.detail & 1) != 0 ? ~0u : 0);
    return i.bytes == 1 ? value & c : i.bytes == 2 ? value | c : value ^ c;
  };
  const u32 p = combine(result), q = combine(~result);
  SetPredicate(warp, i.operands[0], lanes, p);
  if (i.elements == 2) SetPredicate(warp, i.operands[1], lanes, q);
}

// set.C.D.T d, a, b. bytes: 4 sets all bits, 1 the float 1.
template <typename Source, int comparison>
void SetAll(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 result = Compare<Source, comparison>(warp, i.operands[1], i.operands[2]);
  const u32 yes = i.bytes == 4 ? ~0u : ToCell<float>(1.0f);
  u32 out[32];
  for (int l = 0; l < 32; ++l) out[l] = (result >> l & 1) != 0 ? yes : 0;
  SetLanes<u32>(warp, i.operands[0], lanes, out);
}

// set.C.f16x2.f16x2 d, a, b and its like: 1 or 0 in each half. detail: the comparison
template <typename Half, bool pair>
void SetHalves(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<u32, u32, u32>(warp, i, lanes, [&](u32 a, u32 b) {
    return OnHalves<Half, pair>(
        [&](float x, float y, float /*z*/) { return Holds<float>(i.detail, x, y) ? 1.0f : 0.0f; },
        a, b);
  });
}
Operation ForHalves(const std::string& type) {
  if (type == "f16x2") return SetHalves<Fp16, true>;
  if (type == "bf16x2") return SetHalves<Bf16, true>;
  if (type == "f16") return SetHalves<Fp16, false>;
  return type == "bf16" ? SetHalves<Bf16, false> : nullptr;
}

template <typename Source, bool to_predicate, int comparison = 0>
Operation For(int wanted) {
  if constexpr (comparison == kComparisons) {
    return nullptr;
  } else if (wanted == comparison) {
    return to_predicate ? SetPredicates<Source, comparison> : SetAll<Source, comparison>;
  } else {
    return For<Source, to_predicate, comparison + 1>(wanted);
  }
}

template <bool to_predicate>
Operation ForType(const std::string& type, int wanted) {
  if (type == "bf16") return For<Halves<Bf16>, to_predicate>(wanted);
  if (type == "f16") return For<Halves<Fp16>, to_predicate>(wanted);
  if (type == "b8" || type == "u8" || type == "s8") return nullptr;
#define SLUICE_COMPARE(T) (For<Numbers<T>, to_predicate>(wanted))
  return SLUICE_EMULATOR_BY_NUMBER(SLUICE_COMPARE, type);
}

}  // namespace

Operation SelectComparison(Instruction& i, const Opcode& op) {
  if (!op.IsOneOf({"setp", "set"})) return nullptr;
  std::string name = op.parts[1];
  if (name == "lo") name = "lt";
  if (name == "ls") name = "le";
  if (name == "hi") name = "gt";
  if (name == "hs") name = "ge";
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  const int wanted = static_cast<int>(found - std::begin(kNames));
  if (op.Is("setp")) {
    i.bytes = op.Has("and") ? 1 : op.Has("or") ? 2 : op.Has("xor") ? 3 : 0;
    return ForType<true>(op.type(), wanted);
  }
  const std::string& result = op.parts[op.parts.size() - 2];
  if (op.parts.size() == 4 && result == op.type() && result.find("f16") != std::string::npos) {
    i.detail = static_cast<u8>(wanted);
    return ForHalves(result);
  }
  if (op.parts.size() != 4 || (result != "u32" && result != "s32" && result != "f32"))
    return nullptr;
  i.bytes = result == "f32" ? 1 : 4;
  return ForType<false>(op.type(), wanted);
}

}  // namespace sluice::emulator
