// Rows of float or bf16 in memory as vectors of float in registers: unaligned loads, stores that
// round to nearest even (the same bits as the scalar bf16(float)), and loops over any length whose
// last vector may be partial. No lane of a partial vector touches memory beyond the row, and its
// other lanes go through the same instructions as those of a whole one, so a value does not depend
// on where a range was split.
//
// A Highway "-inl" header: include it after hwy/foreach_target.h and hwy/highway.h, once a target.
//
//   const hn::CappedTag<float, 16> df;
//   ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
//     memory.Store(df, hn::Mul(memory.Load(df, x + i), scale), y + i);  // x, y: float or bf16
//   });
#if defined(SLUICE_KERNELS_CPU_VECTOR_MEMORY_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_VECTOR_MEMORY_H_
#undef SLUICE_KERNELS_CPU_VECTOR_MEMORY_H_
#else
#define SLUICE_KERNELS_CPU_VECTOR_MEMORY_H_
#endif

#include <cstdint>
#include <cstring>

#include "core/bf16.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class DF>
HWY_INLINE hn::Vec<DF> LoadFloats(DF df, const float* p) {
  return hn::LoadU(df, p);
}

template <class DF>
HWY_INLINE hn::Vec<DF> LoadFloats(DF df, const bf16* p) {
  const hn::RebindToUnsigned<DF> du32;
  const hn::Rebind<uint16_t, DF> du16;
  const auto bits = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(p));
  return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du32, bits)));
}

// The bits of bf16(v), in the low halves of 32-bit lanes.
template <class DF>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<DF>> Bf16Bits(DF df, hn::Vec<DF> v) {
  const hn::RebindToUnsigned<DF> du32;
  const auto u = hn::BitCast(du32, v);
  const auto upper = hn::ShiftRight<16>(u);
  const auto bias = hn::Add(hn::Set(du32, 0x7fffu), hn::And(upper, hn::Set(du32, 1u)));
  const auto rounded = hn::ShiftRight<16>(hn::Add(u, bias));
  const auto quiet_nan = hn::Or(upper, hn::Set(du32, 0x0040u));
  (void)df;
  return hn::IfThenElse(hn::RebindMask(du32, hn::IsNaN(v)), quiet_nan, rounded);
}

template <class DF>
HWY_INLINE void StoreFloats(DF df, hn::Vec<DF> v, float* p) {
  hn::StoreU(v, df, p);
}

template <class DF>
HWY_INLINE void StoreFloats(DF df, hn::Vec<DF> v, bf16* p) {
  const hn::RebindToSigned<DF> di32;
  const hn::Rebind<uint16_t, DF> du16;
  const auto bits = hn::DemoteTo(du16, hn::BitCast(di32, Bf16Bits(df, v)));
  hn::StoreU(bits, du16, reinterpret_cast<uint16_t*>(p));
}

// Asks for what a stream reads next but a page: hardware prefetchers stop at the ends of pages, and
// a loop with much arithmetic between loads does not run far enough ahead of them by itself. Beyond
// the end of a buffer it does nothing.
template <typename T>
HWY_INLINE void PrefetchStream(const T* p) {
  __builtin_prefetch(reinterpret_cast<const char*>(p) + 4096);
}

// All lanes of a vector are in memory.
struct WholeVector {
  template <class DF, typename T>
  HWY_INLINE hn::Vec<DF> Load(DF df, const T* p) const {
    return LoadFloats(df, p);
  }
  template <class DF, typename T>
  HWY_INLINE void Store(DF df, hn::Vec<DF> v, T* p) const {
    StoreFloats(df, v, p);
  }
  // v in the lanes that are in memory, `otherwise` in the others: for sums and maxima.
  template <class DF>
  HWY_INLINE hn::Vec<DF> Keep(DF, hn::Vec<DF> v, hn::Vec<DF>) const {
    return v;
  }
};

// The first `count` lanes are in memory, 0 < count < Lanes(df); the others load as zero.
struct PartialVector {
  int64_t count;

  template <class DF, typename T>
  HWY_INLINE hn::Vec<DF> Load(DF df, const T* p) const {
    alignas(64) T lanes[hn::MaxLanes(df)];
    std::memset(static_cast<void*>(lanes), 0, sizeof(lanes));
    std::memcpy(static_cast<void*>(lanes), p, static_cast<size_t>(count) * sizeof(T));
    return LoadFloats(df, lanes);
  }
  template <class DF, typename T>
  HWY_INLINE void Store(DF df, hn::Vec<DF> v, T* p) const {
    alignas(64) T lanes[hn::MaxLanes(df)];
    StoreFloats(df, v, lanes);
    std::memcpy(static_cast<void*>(p), lanes, static_cast<size_t>(count) * sizeof(T));
  }
  template <class DF>
  HWY_INLINE hn::Vec<DF> Keep(DF df, hn::Vec<DF> v, hn::Vec<DF> otherwise) const {
    return hn::IfThenElse(hn::FirstN(df, static_cast<size_t>(count)), v, otherwise);
  }
};

// body(i, memory) for i = begin, begin + Lanes(df), … < end; memory is a WholeVector, at last
// perhaps a PartialVector.
template <class DF, class Body>
HWY_INLINE void ForEachVector(DF df, int64_t begin, int64_t end, const Body& body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) body(i, WholeVector());
  if (i < end) body(i, PartialVector{end - i});
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_VECTOR_MEMORY_H_
