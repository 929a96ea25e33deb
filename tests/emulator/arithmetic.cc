// Arithmetic on integers and floats, moves and selection. Rounding is to nearest even; the
// approximate functions are at least as exact as the hardware's, and subnormals are kept whether
// or not the opcode says .ftz.
#include <algorithm>
#include <cmath>

#include "emulator/lanes.h"
#include "emulator/number_operations.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {
namespace {

template <typename T, typename Op>
void Binary(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<T, T, T>(warp, i, lanes, [](T a, T b) { return Op::template Of<T>(a, b); });
}
template <typename T>
void MultiplyAdd(Warp& warp, const Instruction& i, u32 lanes) {
  Map3<T, T, T, T>(warp, i, lanes, [](T a, T b, T c) { return static_cast<T>(a * b + c); });
}
template <typename T>
void MultiplyHighAdd(Warp& warp, const Instruction& i, u32 lanes) {
  Map3<T, T, T, T>(warp, i, lanes,
                   [](T a, T b, T c) { return static_cast<T>(MultiplyHigh::Of<T>(a, b) + c); });
}
template <typename T>
void FusedMultiplyAdd(Warp& warp, const Instruction& i, u32 lanes) {
  Map3<T, T, T, T>(warp, i, lanes, [](T a, T b, T c) { return std::fma(a, b, c); });
}
template <typename W, typename T>
void MultiplyWide(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<W, T, T>(warp, i, lanes,
                [](T a, T b) { return static_cast<W>(static_cast<W>(a) * static_cast<W>(b)); });
}
template <typename W, typename T>
void MultiplyWideAdd(Warp& warp, const Instruction& i, u32 lanes) {
  Map3<W, T, T, W>(warp, i, lanes, [](T a, T b, W c) {
    return static_cast<W>(static_cast<W>(a) * static_cast<W>(b) + c);
  });
}
template <typename T>
void Negate(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<T, T>(warp, i, lanes, [](T a) { return static_cast<T>(-a); });
}
template <typename T>
void Absolute(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<T, T>(warp, i, lanes, [](T a) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(a < 0 ? -a : a);
    return static_cast<T>(std::fabs(a));
  });
}
template <typename T>
void CopySign(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<T, T, T>(warp, i, lanes, [](T a, T b) { return std::copysign(b, a); });
}
// |a - b| + c
template <typename T>
void SumOfDifferences(Warp& warp, const Instruction& i, u32 lanes) {
  Map3<T, T, T, T>(warp, i, lanes,
                   [](T a, T b, T c) { return static_cast<T>((a < b ? b - a : a - b) + c); });
}
template <typename T>
void Move(Warp& warp, const Instruction& i, u32 lanes) {
  SetLanes<T>(warp, i.operands[0], lanes, Lanes<T>(warp, i.operands[1]));
}
template <typename T>
void Select(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 chosen = warp.predicates[i.operands[3]];
  const Cell<T>*a = Lanes<T>(warp, i.operands[1]), *b = Lanes<T>(warp, i.operands[2]);
  alignas(64) Cell<T> out[32];
  for (int l = 0; l < 32; ++l) out[l] = (chosen >> l & 1) != 0 ? a[l] : b[l];
  SetLanes<T>(warp, i.operands[0], lanes, out);
}

template <typename T, T (*F)(T)>
void Function(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<T, T>(warp, i, lanes, [](T a) { return F(a); });
}
template <typename T>
T Reciprocal(T a) {
  return 1 / a;
}
template <typename T>
T ReciprocalRoot(T a) {
  return 1 / std::sqrt(a);
}
template <typename T>
T Root(T a) {
  return std::sqrt(a);
}
float Exp2(float a) { return std::exp2(a); }
float Log2(float a) { return std::log2(a); }
float Sine(float a) { return std::sin(a); }
float Cosine(float a) { return std::cos(a); }
float HyperbolicTangent(float a) { return std::tanh(a); }

// mov.b64 d, {a, b} and mov.b64 {a, b}, s, of halves with Part, or of four 16-bit parts.
template <typename Whole, typename Part>
void Pack(Warp& warp, const Instruction& i, u32 lanes) {
  constexpr int kParts = sizeof(Whole) / sizeof(Part);
  alignas(64) Cell<Whole> out[32];
  for (int l = 0; l < 32; ++l) {
    Cell<Whole> whole = 0;
    for (int p = 0; p < kParts; ++p) {
      const auto part = static_cast<Part>(Lanes<Part>(warp, i.operands[1 + p])[l]);
      whole |= static_cast<Cell<Whole>>(part) << (8 * sizeof(Part) * p);
    }
    out[l] = whole;
  }
  SetLanes<Whole>(warp, i.operands[0], lanes, out);
}
template <typename Whole, typename Part>
void Unpack(Warp& warp, const Instruction& i, u32 lanes) {
  constexpr int kParts = sizeof(Whole) / sizeof(Part);
  Cell<Whole> whole[32];
  std::memcpy(whole, Lanes<Whole>(warp, i.operands[kParts]), sizeof whole);
  for (int p = 0; p < kParts; ++p) {
    Cell<Part> out[32];
    for (int l = 0; l < 32; ++l) out[l] = static_cast<Part>(whole[l] >> (8 * sizeof(Part) * p));
    SetLanes<Part>(warp, i.operands[p], lanes, out);
  }
}

template <typename Op>
void PredicateBinary(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 a = warp.predicates[i.operands[1]], b = warp.predicates[i.operands[2]];
  SetPredicate(warp, i.operands[0], lanes, Op::template Of<u32>(a, b));
}
void PredicateNot(Warp& warp, const Instruction& i, u32 lanes) {
  SetPredicate(warp, i.operands[0], lanes, ~warp.predicates[i.operands[1]]);
}
// detail: 2 and 3 are the constants 0 and 1
void PredicateMove(Warp& warp, const Instruction& i, u32 lanes) {
  const u32 constant = (i.detail & 1) != 0 ? ~0u : 0;
  SetPredicate(warp, i.operands[0], lanes,
               (i.detail & 2) != 0 ? constant : warp.predicates[i.operands[1]]);
}

Operation SelectPredicate(const Opcode& op) {
  if (op.Is("and")) return PredicateBinary<And>;
  if (op.Is("or")) return PredicateBinary<Or>;
  if (op.Is("xor")) return PredicateBinary<Xor>;
  if (op.Is("not")) return PredicateNot;
  return op.Is("mov") ? PredicateMove : nullptr;
}

// detail 4: the destination is a vector
Operation SelectMove(const Instruction& i, const std::string& type) {
  const bool unpack = i.detail == 4;
  if (i.elements == 4) return unpack ? Unpack<u64, u16> : Pack<u64, u16>;
  if (i.elements == 2 && type == "b64") return unpack ? Unpack<u64, u32> : Pack<u64, u32>;
  if (i.elements == 2) return unpack ? Unpack<u32, u16> : Pack<u32, u16>;
#define SLUICE_MOVE(T) Move<T>
  return SLUICE_EMULATOR_BY_NUMBER(SLUICE_MOVE, type);
}

Operation SelectFunction(const Opcode& op) {
  if (op.type() == "f64") {
    if (op.Is("rcp")) return Function<double, Reciprocal<double>>;
    if (op.Is("sqrt")) return Function<double, Root<double>>;
    return op.Is("rsqrt") ? Function<double, ReciprocalRoot<double>> : nullptr;
  }
  if (op.type() != "f32") return nullptr;
  if (op.Is("ex2")) return Function<float, Exp2>;
  if (op.Is("lg2")) return Function<float, Log2>;
  if (op.Is("rcp")) return Function<float, Reciprocal<float>>;
  if (op.Is("sqrt")) return Function<float, Root<float>>;
  if (op.Is("rsqrt")) return Function<float, ReciprocalRoot<float>>;
  if (op.Is("sin")) return Function<float, Sine>;
  if (op.Is("cos")) return Function<float, Cosine>;
  return op.Is("tanh") ? Function<float, HyperbolicTangent> : nullptr;
}

#define SLUICE_BINARY(Op) SLUICE_EMULATOR_BY_NUMBER(SLUICE_BINARY_##Op, type)
#define SLUICE_BINARY_Add(T) Binary<T, Add>
#define SLUICE_BINARY_Subtract(T) Binary<T, Subtract>
#define SLUICE_BINARY_Multiply(T) Binary<T, Multiply>
#define SLUICE_BINARY_Divide(T) Binary<T, Divide>
#define SLUICE_BINARY_Minimum(T) Binary<T, Minimum>
#define SLUICE_BINARY_Maximum(T) Binary<T, Maximum>
#define SLUICE_BINARY_Remainder(T) Binary<T, Remainder>
#define SLUICE_BINARY_MultiplyHigh(T) Binary<T, MultiplyHigh>

Operation SelectMultiply(const Opcode& op) {
  const std::string& type = op.type();
  if (op.Has("wide")) {
    return type == "s32"   ? MultiplyWide<s64, s32>
           : type == "u32" ? MultiplyWide<u64, u32>
           : type == "u16" ? MultiplyWide<u32, u16>
                           : MultiplyWide<s32, s16>;
  }
  if (op.Has("hi")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_BINARY_MultiplyHigh, type);
  return SLUICE_BINARY(Multiply);
}

Operation SelectMultiplyAdd(const Opcode& op) {
  const std::string& type = op.type();
  if (op.Has("wide")) {
    return type == "s32"   ? MultiplyWideAdd<s64, s32>
           : type == "u32" ? MultiplyWideAdd<u64, u32>
           : type == "u16" ? MultiplyWideAdd<u32, u16>
                           : MultiplyWideAdd<s32, s16>;
  }
#define SLUICE_MULTIPLY_HIGH_ADD(T) MultiplyHighAdd<T>
  if (op.Has("hi")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_MULTIPLY_HIGH_ADD, type);
#define SLUICE_MULTIPLY_ADD(T) MultiplyAdd<T>
  return op.Has("lo") ? SLUICE_EMULATOR_BY_INTEGER(SLUICE_MULTIPLY_ADD, type) : nullptr;
}

}  // namespace

Operation SelectArithmetic(Instruction& i, const Opcode& op) {
  const std::string& type = op.type();
  if (type == "pred") return SelectPredicate(op);
  if (op.Is("mov")) return SelectMove(i, type);
  const bool number = type[0] != 'b' && !op.Has("cc") && !op.Has("sat");
  if (op.Is("add") && number) return SLUICE_BINARY(Add);
  if (op.Is("sub") && number) return SLUICE_BINARY(Subtract);
  if (op.Is("mul") && number) return SelectMultiply(op);
  if (op.Is("mad") && number) return SelectMultiplyAdd(op);
  if (op.Is("fma") && !op.Has("sat") && !op.Has("relu")) {
    return type == "f32"   ? FusedMultiplyAdd<float>
           : type == "f64" ? FusedMultiplyAdd<double>
                           : nullptr;
  }
  if (op.Is("div")) return SLUICE_BINARY(Divide);
  if (op.Is("rem")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_BINARY_Remainder, type);
  if (op.Is("min") && number && !op.Has("NaN")) return SLUICE_BINARY(Minimum);
  if (op.Is("max") && number && !op.Has("NaN")) return SLUICE_BINARY(Maximum);
  if (op.Is("min") && type == "f32") return Binary<float, MinimumOrNaN>;
  if (op.Is("max") && type == "f32") return Binary<float, MaximumOrNaN>;
#define SLUICE_NEGATE(T) Negate<T>
  if (op.Is("neg")) return SLUICE_EMULATOR_BY_NUMBER(SLUICE_NEGATE, type);
#define SLUICE_ABSOLUTE(T) Absolute<T>
  if (op.Is("abs")) return SLUICE_EMULATOR_BY_NUMBER(SLUICE_ABSOLUTE, type);
  if (op.Is("copysign")) return type == "f32" ? CopySign<float> : CopySign<double>;
#define SLUICE_SUM_OF_DIFFERENCES(T) SumOfDifferences<T>
  if (op.Is("sad")) return SLUICE_EMULATOR_BY_INTEGER(SLUICE_SUM_OF_DIFFERENCES, type);
#define SLUICE_SELECT(T) Select<T>
  if (op.Is("selp")) return SLUICE_EMULATOR_BY_NUMBER(SLUICE_SELECT, type);
  return SelectFunction(op);
}

}  // namespace sluice::emulator
