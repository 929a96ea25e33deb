// 16-bit floats in registers, converted as the hardware does: to nearest, ties to even.
#pragma once

#include "core/bf16.h"
#include "core/fp16.h"
#include "emulator/program.h"

namespace sluice::emulator {

// The arithmetic of a pair is in float, which rounds as the 16-bit arithmetic does but for an fma
// that falls halfway. A NaN becomes 0x7fff, as the hardware's canonical one.
struct Bf16 {
  static float Widen(u32 bits) {
    bf16 value;
    value.bits = static_cast<u16>(bits);
    return value;
  }
  static u32 Round(float value) { return value != value ? 0x7fffu : bf16(value).bits; }
};
struct Fp16 {
  static float Widen(u32 bits) {
    fp16 value;
    value.bits = static_cast<u16>(bits);
    return value;
  }
  static u32 Round(float value) { return value != value ? 0x7fffu : fp16(value).bits; }
};

// f of the lower halves and, when `pair`, of the upper halves.
template <typename Half, bool pair, typename F>
u32 OnHalves(F f, u32 a, u32 b = 0, u32 c = 0) {
  const auto part = [&](int shift) {
    return Half::Round(f(Half::Widen(a >> shift & 0xffff), Half::Widen(b >> shift & 0xffff),
                         Half::Widen(c >> shift & 0xffff)));
  };
  return pair ? part(0) | part(16) << 16 : part(0);
}

}  // namespace sluice::emulator
