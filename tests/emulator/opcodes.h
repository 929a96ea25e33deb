// One line an instruction: its PTX, and what it computes as a C++ expression of a, b and c, written
// from the PTX manual and not from the emulator. %0 is the result, %1 to %3 are a, b and c.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::emulator {

// ---- on uint32_t; S is int32_t, W and SW are 64 bits
#define SLUICE_OPCODES_U32(X)                                                              \
  X("add.u32 %0, %1, %2;", a + b)                                                          \
  X("sub.s32 %0, %1, %2;", a - b)                                                          \
  X("mul.lo.u32 %0, %1, %2;", a* b)                                                        \
  X("mul.hi.u32 %0, %1, %2;", static_cast<U>(W(a) * b >> 32))                              \
  X("mul.hi.s32 %0, %1, %2;", static_cast<U>(SW(S(a)) * S(b) >> 32))                       \
  X("mad.lo.s32 %0, %1, %2, %3;", a* b + c)                                                \
  X("mad.hi.u32 %0, %1, %2, %3;", static_cast<U>(W(a) * b >> 32) + c)                      \
  X("div.u32 %0, %1, %2;", b == 0 ? ~0u : a / b)                                           \
  X("rem.u32 %0, %1, %2;", b == 0 ? a : a % b)                                             \
  X("div.s32 %0, %1, %2;", b == 0 ? ~0u : U(SW(S(a)) / S(b)))                              \
  X("min.s32 %0, %1, %2;", S(a) < S(b) ? a : b)                                            \
  X("max.u32 %0, %1, %2;", a > b ? a : b)                                                  \
  X("neg.s32 %0, %1;", 0u - a)                                                             \
  X("abs.s32 %0, %1;", S(a) < 0 ? 0u - a : a)                                              \
  X("sad.s32 %0, %1, %2, %3;", (S(a) < S(b) ? b - a : a - b) + c)                          \
  X("sad.u32 %0, %1, %2, %3;", (a < b ? b - a : a - b) + c)                                \
  X("and.b32 %0, %1, %2;", a& b)                                                           \
  X("or.b32 %0, %1, %2;", a | b)                                                           \
  X("xor.b32 %0, %1, %2;", a ^ b)                                                          \
  X("not.b32 %0, %1;", ~a)                                                                 \
  X("shl.b32 %0, %1, %2;", b > 31 ? 0 : a << b)                                            \
  X("shr.u32 %0, %1, %2;", b > 31 ? 0 : a >> b)                                            \
  X("shr.s32 %0, %1, %2;", U(S(a) >> (b > 31 ? 31 : b)))                                   \
  X("shf.l.wrap.b32 %0, %1, %2, %3;", U((W(b) << 32 | a) << (c & 31) >> 32))               \
  X("shf.r.clamp.b32 %0, %1, %2, %3;", U((W(b) << 32 | a) >> (c > 32 ? 32 : c)))           \
  X("lop3.b32 %0, %1, %2, %3, 0x96;", a ^ b ^ c)                                           \
  X("lop3.b32 %0, %1, %2, %3, 0xe8;", (a & b) | (b & c) | (a & c))                         \
  X("prmt.b32 %0, %1, %2, 0x5140;",                                                        \
    (a & 0xff) | (b & 0xff) << 8 | (a & 0xff00) << 8 | (b & 0xff00) << 16)                 \
  X("prmt.b32 %0, %1, %2, 0x000b;", (a >> 31 != 0 ? 0xffu : 0) | (a & 0xff) * 0x01010100u) \
  X("bfe.u32 %0, %1, 5, 9;", a >> 5 & 511)                                                 \
  X("bfe.s32 %0, %1, 5, 9;", U(S(a << 18) >> 23))                                          \
  X("bfi.b32 %0, %1, %2, 8, 4;", (b & ~0xf00u) | (a & 15) << 8)                            \
  X("popc.b32 %0, %1;", U(__builtin_popcount(a)))                                          \
  X("clz.b32 %0, %1;", a == 0 ? 32u : U(__builtin_clz(a)))                                 \
  X("bfind.u32 %0, %1;", a == 0 ? ~0u : 31u - U(__builtin_clz(a)))                         \
  X("bfind.shiftamt.u32 %0, %1;", a == 0 ? ~0u : U(__builtin_clz(a)))                      \
  X("brev.b32 %0, %1;", ReverseBits(a))                                                    \
  X("set.lt.u32.s32 %0, %1, %2;", S(a) < S(b) ? ~0u : 0)                                   \
  X("{.reg .pred p; setp.ge.u32 p, %1, %2; selp.b32 %0, %1, %3, p;}", a >= b ? a : c)      \
  X("{.reg .pred p, q; setp.eq.s32 p|q, %1, %2; selp.b32 %0, %1, %3, q;}", a != b ? a : c) \
  X("{.reg .pred p, q; setp.lt.u32 p, %1, %2; setp.gt.or.u32 q, %1, %3, p; "               \
    "selp.b32 %0, 1, 0, q;}",                                                              \
    (a < b || a > c) ? 1u : 0)                                                             \
  X("{.reg .b16 l, h; mov.b32 {l, h}, %1; mov.b32 %0, {h, l};}", a << 16 | a >> 16)        \
  X("{.reg .s8 t; cvt.s8.s32 t, %1; cvt.s32.s8 %0, t;}", U(S(a << 24) >> 24))              \
  X("{.reg .u16 t; cvt.u16.u32 t, %1; cvt.u32.u16 %0, t;}", a & 0xffff)

// ---- on uint64_t
#define SLUICE_OPCODES_U64(X)                                                                   \
  X("add.s64 %0, %1, %2;", a + b)                                                               \
  X("mul.lo.u64 %0, %1, %2;", a* b)                                                             \
  X("mul.hi.u64 %0, %1, %2;", MultiplyHigh64(a, b))                                             \
  X("mad.lo.s64 %0, %1, %2, %3;", a* b + c)                                                     \
  X("div.u64 %0, %1, %2;", b == 0 ? ~W(0) : a / b)                                              \
  X("min.s64 %0, %1, %2;", SW(a) < SW(b) ? a : b)                                               \
  X("shr.s64 %0, %1, 7;", W(SW(a) >> 7))                                                        \
  X("shl.b64 %0, %1, 33;", a << 33)                                                             \
  X("bfe.u64 %0, %1, 20, 30;", a >> 20 & 0x3fffffff)                                            \
  X("bfi.b64 %0, %1, %2, 40, 10;", (b & ~(W(1023) << 40)) | (a & 1023) << 40)                   \
  X("brev.b64 %0, %1;", W(ReverseBits(U(a))) << 32 | ReverseBits(U(a >> 32)))                   \
  X("{.reg .u32 t; popc.b64 t, %1; cvt.u64.u32 %0, t;}", W(__builtin_popcountll(a)))            \
  X("{.reg .u32 t; clz.b64 t, %1; cvt.u64.u32 %0, t;}", a == 0 ? W(64) : W(__builtin_clzll(a))) \
  X("{.reg .u32 l, h; mov.b64 {l, h}, %1; mov.b64 %0, {h, l};}", a << 32 | a >> 32)             \
  X("{.reg .u32 t; cvt.u32.u64 t, %1; mul.wide.u32 %0, t, t;}", W(U(a)) * U(a))                 \
  X("{.reg .s32 t; cvt.s32.s64 t, %1; mad.wide.s32 %0, t, 3, %2;}", W(SW(S(U(a))) * 3) + b)     \
  X("{.reg .s32 t; cvt.u32.u64 t, %1; cvt.s64.s32 %0, t;}", W(SW(S(U(a)))))

// ---- on float; every one of these is exact or rounded once
#define SLUICE_OPCODES_F32(X)                                                               \
  X("add.f32 %0, %1, %2;", a + b)                                                           \
  X("sub.rn.f32 %0, %1, %2;", a - b)                                                        \
  X("mul.f32 %0, %1, %2;", a* b)                                                            \
  X("fma.rn.f32 %0, %1, %2, %3;", std::fma(a, b, c))                                        \
  X("div.rn.f32 %0, %1, %2;", a / b)                                                        \
  X("sqrt.rn.f32 %0, %1;", std::sqrt(a))                                                    \
  X("rcp.rn.f32 %0, %1;", 1 / a)                                                            \
  X("neg.f32 %0, %1;", -a)                                                                  \
  X("abs.f32 %0, %1;", std::fabs(a))                                                        \
  X("min.f32 %0, %1, %2;", std::isnan(a) ? b : std::isnan(b) || a < b ? a : b)              \
  X("max.f32 %0, %1, %2;", std::isnan(a) ? b : std::isnan(b) || a > b ? a : b)              \
  X("max.NaN.f32 %0, %1, %2;", std::isnan(a) || std::isnan(b) ? NAN : a > b ? a : b)        \
  X("copysign.f32 %0, %1, %2;", std::copysign(b, a))                                        \
  X("cvt.rni.f32.f32 %0, %1;", std::nearbyint(a))                                           \
  X("cvt.rzi.f32.f32 %0, %1;", std::trunc(a))                                               \
  X("cvt.rmi.f32.f32 %0, %1;", std::floor(a))                                               \
  X("cvt.rpi.f32.f32 %0, %1;", std::ceil(a))                                                \
  X("cvt.sat.f32.f32 %0, %1;", a > 0 ? (a < 1 ? a : 1.0f) : 0.0f)                           \
  X("{.reg .s32 t; cvt.rzi.s32.f32 t, %1; cvt.rn.f32.s32 %0, t;}", float(SaturateToInt(a))) \
  X("{.reg .f64 t; cvt.f64.f32 t, %1; mul.f64 t, t, t; cvt.rn.f32.f64 %0, t;}",             \
    float(double(a) * double(a)))                                                           \
  X("{.reg .b16 t; cvt.rn.bf16.f32 t, %1; cvt.f32.bf16 %0, t;}", float(bf16(a)))            \
  X("{.reg .b16 t; cvt.rn.f16.f32 t, %1; cvt.f32.f16 %0, t;}", float(fp16(a)))              \
  X("{.reg .pred p; setp.lt.f32 p, %1, %2; selp.f32 %0, %1, %3, p;}", a < b ? a : c)        \
  X("{.reg .pred p; setp.geu.f32 p, %1, %2; selp.f32 %0, %1, %3, p;}", !(a < b) ? a : c)    \
  X("{.reg .pred p; setp.nan.f32 p, %1, %2; selp.f32 %0, 0f3F800000, %3, p;}",              \
    std::isnan(a) || std::isnan(b) ? 1.0f : c)

// ---- on float, approximate on a GPU
#define SLUICE_OPCODES_APPROXIMATE(X)                     \
  X("ex2.approx.f32 %0, %1;", std::pow(2.0, a))           \
  X("lg2.approx.f32 %0, %1;", std::log2(double(a)))       \
  X("rsqrt.approx.f32 %0, %1;", 1 / std::sqrt(double(a))) \
  X("sin.approx.f32 %0, %1;", std::sin(double(a)))        \
  X("cos.approx.f32 %0, %1;", std::cos(double(a)))        \
  X("tanh.approx.f32 %0, %1;", std::tanh(double(a)))

// Results of every instruction of one list for every element: result k of element i is at
// k · count + i.
std::vector<uint32_t> RunU32(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b,
                             const std::vector<uint32_t>& c);
std::vector<uint64_t> RunU64(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b,
                             const std::vector<uint64_t>& c);
std::vector<float> RunF32(const std::vector<float>& a, const std::vector<float>& b,
                          const std::vector<float>& c);
std::vector<float> RunApproximate(const std::vector<float>& a, const std::vector<float>& b,
                                  const std::vector<float>& c);

}  // namespace sluice::emulator
