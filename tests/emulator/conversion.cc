// cvt: between integers, floats and 16-bit floats.
#include <cmath>
#include <limits>

#include "emulator/half.h"
#include "emulator/lanes.h"
#include "emulator/ptx_text.h"

namespace sluice::emulator {
namespace {

enum Rounding : u8 { kToZero, kToNearest, kDown, kUp, kNone };

double RoundTo(double value, int rounding) {
  switch (rounding) {
    case kToZero:
      return std::trunc(value);
    case kToNearest:
      return std::nearbyint(value);
    case kDown:
      return std::floor(value);
    case kUp:
      return std::ceil(value);
    default:
      return value;
  }
}

// Between integers, from them to float, between float and double.
template <typename D, typename S>
void Convert(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<D, S>(warp, i, lanes, [](S a) { return static_cast<D>(a); });
}

// From an integer that lies in a 64-bit register: its low bits.
template <typename D, typename S>
void ConvertLowBits(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<D, u64>(warp, i, lanes, [](u64 a) { return static_cast<D>(static_cast<S>(a)); });
}

// detail: the rounding. Saturates, and NaN becomes 0.
template <typename D, typename S>
void ConvertToInteger(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<D, S>(warp, i, lanes, [&](S a) -> D {
    if (a != a) return 0;
    const double rounded = RoundTo(a, i.detail);
    if (rounded <= static_cast<double>(std::numeric_limits<D>::min())) {
      return std::numeric_limits<D>::min();
    }
    if (rounded >= static_cast<double>(std::numeric_limits<D>::max())) {
      return std::numeric_limits<D>::max();
    }
    return static_cast<D>(rounded);
  });
}

// detail: the rounding to an integral value; bytes: whether to saturate to [0, 1]
void ConvertFloat(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<float, float>(warp, i, lanes, [&](float a) {
    const float rounded = static_cast<float>(RoundTo(a, i.detail));
    if (i.bytes == 0) return rounded;
    return rounded > 0 ? std::fmin(rounded, 1.0f) : 0.0f;
  });
}

template <typename Half>
void Narrow(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<u32, float>(warp, i, lanes, [](float a) { return Half::Round(a); });
}
template <typename Half>
void Widen(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<float, u32>(warp, i, lanes, [](u32 a) { return Half::Widen(a & 0xffff); });
}
template <typename Half>
void NarrowPair(Warp& warp, const Instruction& i, u32 lanes) {
  Map2<u32, float, float>(warp, i, lanes,
                          [](float a, float b) { return Half::Round(a) << 16 | Half::Round(b); });
}
// Integers that float holds exactly up to 2^24; larger ones would be rounded twice, so through
// double and once more to odd would be needed: refused by the choice below for 64 bits.
template <typename Half, typename S>
void IntegerToHalf(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<u32, S>(warp, i, lanes, [](S a) {
    const float nearest = static_cast<float>(a);
    // To odd: a float that lost bits gets its last bit set, so that the next rounding is right.
    const double lost = static_cast<double>(a) - static_cast<double>(nearest);
    if (lost == 0) return Half::Round(nearest);
    const bool towards_zero = (lost > 0) == (nearest > 0);
    const float below = towards_zero ? nearest : std::nextafter(nearest, 0.0f);
    return Half::Round(FromCell<float>(ToCell<float>(below) | 1u));
  });
}
template <typename Half, typename D>
void HalfToInteger(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<D, u32>(warp, i, lanes, [&](u32 bits) -> D {
    const double a = Half::Widen(bits & 0xffff);
    if (a != a) return 0;
    const double rounded = RoundTo(a, i.detail);
    const double low = static_cast<double>(std::numeric_limits<D>::min());
    const double high = static_cast<double>(std::numeric_limits<D>::max());
    return rounded <= low    ? std::numeric_limits<D>::min()
           : rounded >= high ? std::numeric_limits<D>::max()
                             : static_cast<D>(rounded);
  });
}

template <typename S>
Operation FromType(const std::string& to) {
#define SLUICE_CONVERT_TO(T) (Convert<T, S>)
  if (to == "u8") return Convert<u8, S>;
  if (to == "s8") return Convert<s8, S>;
  return SLUICE_EMULATOR_BY_NUMBER(SLUICE_CONVERT_TO, to);
}
template <typename S>
Operation FromLowBits(const std::string& to) {
#define SLUICE_CONVERT_LOW_BITS_TO(T) (ConvertLowBits<T, S>)
  if (to == "u8") return ConvertLowBits<u8, S>;
  if (to == "s8") return ConvertLowBits<s8, S>;
  return SLUICE_EMULATOR_BY_NUMBER(SLUICE_CONVERT_LOW_BITS_TO, to);
}
template <typename S>
Operation FromFloatToInteger(const std::string& to) {
  return to == "u32"   ? ConvertToInteger<u32, S>
         : to == "s32" ? ConvertToInteger<s32, S>
         : to == "u64" ? ConvertToInteger<u64, S>
         : to == "s64" ? ConvertToInteger<s64, S>
         : to == "u16" ? ConvertToInteger<u16, S>
         : to == "s16" ? ConvertToInteger<s16, S>
         : to == "u8"  ? ConvertToInteger<u8, S>
         : to == "s8"  ? ConvertToInteger<s8, S>
                       : nullptr;
}

template <typename Half>
Operation ToHalf(const std::string& from) {
  return from == "f32"   ? Narrow<Half>
         : from == "s32" ? IntegerToHalf<Half, s32>
         : from == "u32" ? IntegerToHalf<Half, u32>
         : from == "s16" ? IntegerToHalf<Half, s16>
         : from == "u16" ? IntegerToHalf<Half, u16>
         : from == "s8"  ? IntegerToHalf<Half, s8>
         : from == "u8"  ? IntegerToHalf<Half, u8>
                         : nullptr;
}
template <typename Half>
Operation FromHalf(const std::string& to) {
  return to == "f32"   ? Widen<Half>
         : to == "s32" ? HalfToInteger<Half, s32>
         : to == "u32" ? HalfToInteger<Half, u32>
                       : nullptr;
}

}  // namespace

Operation SelectConversion(Instruction& i, const Opcode& op) {
  if (!op.Is("cvt")) return nullptr;
  const std::string &to = op.parts[op.parts.size() - 2], &from = op.type();
  i.detail = op.Has("rzi")   ? kToZero
             : op.Has("rni") ? kToNearest
             : op.Has("rmi") ? kDown
             : op.Has("rpi") ? kUp
                             : kNone;
  i.bytes = op.Has("sat") ? 1 : 0;
  if (op.Has("relu") || (op.Has("rz") && to != "f32")) return nullptr;
  if (to == "bf16x2" && from == "f32") return NarrowPair<Bf16>;
  if (to == "f16x2" && from == "f32") return NarrowPair<Fp16>;
  if (to == "bf16") return ToHalf<Bf16>(from);
  if (to == "f16") return ToHalf<Fp16>(from);
  if (from == "bf16") return FromHalf<Bf16>(to);
  if (from == "f16") return FromHalf<Fp16>(to);
  if (to == "f32" && from == "f32") return ConvertFloat;
  if (i.bytes != 0) return nullptr;
  if (from == "f32" && to[0] != 'f') return FromFloatToInteger<float>(to);
  if (from == "f64" && to[0] != 'f') return FromFloatToInteger<double>(to);
  if (from == "f64" && to == "f64" && i.detail != kNone) return nullptr;
  // cvt takes the low bits of a wider source register.
  if (i.register_bytes == 8) {
    if (from == "u8") return FromLowBits<u8>(to);
    if (from == "s8") return FromLowBits<s8>(to);
    if (from == "u16") return FromLowBits<u16>(to);
    if (from == "s16") return FromLowBits<s16>(to);
    if (from == "u32") return FromLowBits<u32>(to);
    if (from == "s32") return FromLowBits<s32>(to);
  }
  if (from == "u8") return FromType<u8>(to);
  if (from == "s8") return FromType<s8>(to);
#define SLUICE_CONVERT_FROM(T) FromType<T>(to)
  return SLUICE_EMULATOR_BY_NUMBER(SLUICE_CONVERT_FROM, from);
}

}  // namespace sluice::emulator
