// Transposing squares of 32-bit elements in registers. A Highway "-inl" header.
#if defined(SLUICE_KERNELS_CPU_VECTOR_TRANSPOSE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_VECTOR_TRANSPOSE_H_
#undef SLUICE_KERNELS_CPU_VECTOR_TRANSPOSE_H_
#else
#define SLUICE_KERNELS_CPU_VECTOR_TRANSPOSE_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/vector_memory.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
// out[d · out_stride + column] = rows[column · stride + d] for a square of kSide elements, which is
// the number of lanes: first within 128-bit blocks, then the blocks. The bits of 32-bit elements
// come through unchanged. `out` is aligned to a vector, and so are its rows.
template <int kSide, typename T>
HWY_INLINE void TransposeSquare(const T* rows, int64_t stride, float* out, int64_t out_stride) {
  const hn::CappedTag<float, kSide> df;
  using FloatVector = hn::Vec<decltype(df)>;
  const hn::Repartition<double, decltype(df)> dd;
  // Block i of quad[4·g + c] holds rows 4·g … 4·g + 3 at d = 4·i + c.
  FloatVector quad[kSide];
#pragma GCC unroll 4
  for (int g = 0; g < kSide; g += 4) {
    const FloatVector r0 = LoadFloats(df, rows + g * stride);
    const FloatVector r1 = LoadFloats(df, rows + (g + 1) * stride);
    const FloatVector r2 = LoadFloats(df, rows + (g + 2) * stride);
    const FloatVector r3 = LoadFloats(df, rows + (g + 3) * stride);
    const auto low01 = hn::BitCast(dd, hn::InterleaveLower(df, r0, r1));
    const auto low23 = hn::BitCast(dd, hn::InterleaveLower(df, r2, r3));
    const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(df, r0, r1));
    const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(df, r2, r3));
    quad[g] = hn::BitCast(df, hn::InterleaveLower(dd, low01, low23));
    quad[g + 1] = hn::BitCast(df, hn::InterleaveUpper(dd, low01, low23));
    quad[g + 2] = hn::BitCast(df, hn::InterleaveLower(dd, high01, high23));
    quad[g + 3] = hn::BitCast(df, hn::InterleaveUpper(dd, high01, high23));
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    // Pairs of groups of rows: blocks (0 of a, 0 of b, 2 of a, 2 of b) and the odd ones.
    FloatVector even[kSide / 8], odd[kSide / 8];
#pragma GCC unroll 2
    for (int pair = 0; pair < kSide / 8; ++pair) {
      const FloatVector a = quad[8 * pair + c], b = quad[8 * pair + 4 + c];
      even[pair] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a);
      odd[pair] = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a));
    }
    if constexpr (kSide == 16) {
      hn::Store(hn::ConcatLowerLower(df, even[1], even[0]), df, out + c * out_stride);
      hn::Store(hn::ConcatLowerLower(df, odd[1], odd[0]), df, out + (4 + c) * out_stride);
      hn::Store(hn::ConcatUpperUpper(df, even[1], even[0]), df, out + (8 + c) * out_stride);
      hn::Store(hn::ConcatUpperUpper(df, odd[1], odd[0]), df, out + (12 + c) * out_stride);
    } else {
      static_assert(kSide == 8);
      hn::Store(even[0], df, out + c * out_stride);
      hn::Store(odd[0], df, out + (4 + c) * out_stride);
    }
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_VECTOR_TRANSPOSE_H_
