// A warp's registers as 32 typed values, and loops over them that the compiler makes vectors of.
#pragma once

#include <cstring>
#include <type_traits>

#include "emulator/machine.h"

namespace sluice::emulator {

// What a lane's value of type T is kept in.
template <typename T>
using Cell = std::conditional_t<sizeof(T) == 8, u64, u32>;

template <typename T>
inline T FromCell(Cell<T> cell) {
  if constexpr (sizeof(T) >= 4) {
    T value;
    std::memcpy(&value, &cell, sizeof value);
    return value;
  } else {
    return static_cast<T>(cell);
  }
}
template <typename T>
inline Cell<T> ToCell(T value) {
  if constexpr (sizeof(T) >= 4) {
    Cell<T> cell;
    std::memcpy(&cell, &value, sizeof cell);
    return cell;
  } else {
    return static_cast<std::make_unsigned_t<T>>(value);
  }
}

template <typename T>
inline Cell<T>* Lanes(Warp& warp, u32 operand) {
  return reinterpret_cast<Cell<T>*>(warp.registers + operand);
}
// Overwrites the register's values in `lanes`.
template <typename T>
inline void SetLanes(Warp& warp, u32 operand, u32 lanes, const Cell<T>* values) {
  Cell<T>* out = Lanes<T>(warp, operand);
  if (lanes == ~0u) {
    std::memcpy(out, values, 32 * sizeof *out);
  } else {
    for (int l = 0; l < 32; ++l) out[l] = (lanes >> l & 1) != 0 ? values[l] : out[l];
  }
}
inline void SetPredicate(Warp& warp, u32 operand, u32 lanes, u32 values) {
  u32& out = warp.predicates[operand];
  out = (out & ~lanes) | (values & lanes);
}

template <typename Body>
inline void ForEachLane(u32 lanes, const Body& body) {
  for (; lanes != 0; lanes &= lanes - 1) body(__builtin_ctz(lanes));
}

// destination = f(a), f(a, b), f(a, b, c) in every lane; D, A, B, C are the types.
template <typename D, typename A, typename F>
inline void Map1(Warp& warp, const Instruction& i, u32 lanes, F f) {
  const Cell<A>* a = Lanes<A>(warp, i.operands[1]);
  alignas(64) Cell<D> out[32];
  for (int l = 0; l < 32; ++l) out[l] = ToCell<D>(f(FromCell<A>(a[l])));
  SetLanes<D>(warp, i.operands[0], lanes, out);
}
template <typename D, typename A, typename B, typename F>
inline void Map2(Warp& warp, const Instruction& i, u32 lanes, F f) {
  const Cell<A>* a = Lanes<A>(warp, i.operands[1]);
  const Cell<B>* b = Lanes<B>(warp, i.operands[2]);
  alignas(64) Cell<D> out[32];
  for (int l = 0; l < 32; ++l) out[l] = ToCell<D>(f(FromCell<A>(a[l]), FromCell<B>(b[l])));
  SetLanes<D>(warp, i.operands[0], lanes, out);
}
template <typename D, typename A, typename B, typename C, typename F>
inline void Map3(Warp& warp, const Instruction& i, u32 lanes, F f) {
  const Cell<A>* a = Lanes<A>(warp, i.operands[1]);
  const Cell<B>* b = Lanes<B>(warp, i.operands[2]);
  const Cell<C>* c = Lanes<C>(warp, i.operands[3]);
  alignas(64) Cell<D> out[32];
  for (int l = 0; l < 32; ++l) {
    out[l] = ToCell<D>(f(FromCell<A>(a[l]), FromCell<B>(b[l]), FromCell<C>(c[l])));
  }
  SetLanes<D>(warp, i.operands[0], lanes, out);
}

inline u32 ThreadOf(const Warp& warp, int lane) { return static_cast<u32>(warp.index * 32 + lane); }

// Of an address operand.
inline u64 AddressIn(Warp& warp, const Instruction& i, u32 operand, int lane) {
  if (i.wide_address) return Lanes<u64>(warp, operand)[lane] + static_cast<s64>(i.offset);
  return Lanes<u32>(warp, operand)[lane] + static_cast<u32>(i.offset);
}

// Operation<T> for the integer type that a PTX type names, as a chain of conditions.
#define SLUICE_EMULATOR_BY_INTEGER(operation, type)                              \
  ((type) == "u32" || (type) == "b32"   ? static_cast<Operation>(operation(u32)) \
   : (type) == "s32"                    ? static_cast<Operation>(operation(s32)) \
   : (type) == "u64" || (type) == "b64" ? static_cast<Operation>(operation(u64)) \
   : (type) == "s64"                    ? static_cast<Operation>(operation(s64)) \
   : (type) == "u16" || (type) == "b16" ? static_cast<Operation>(operation(u16)) \
   : (type) == "s16"                    ? static_cast<Operation>(operation(s16)) \
                                        : static_cast<Operation>(nullptr))
#define SLUICE_EMULATOR_BY_NUMBER(operation, type)               \
  ((type) == "f32"   ? static_cast<Operation>(operation(float))  \
   : (type) == "f64" ? static_cast<Operation>(operation(double)) \
                     : SLUICE_EMULATOR_BY_INTEGER(operation, type))

}  // namespace sluice::emulator
