// Between the tensors of attention (float or bf16, rows of D apart by any stride) and packed fp32
// matrices. A Highway "-inl" header.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_PACK_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_PACK_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_PACK_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_PACK_H_
#endif

#include <algorithm>
#include <cstdint>

#include "core/bf16.h"
#include "hwy/highway.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_tile.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Lanes(df) values at `from`, any alignment, widened.
template <class DF>
HWY_INLINE hn::Vec<DF> LoadWidened(DF df, const float* from) {
  return hn::LoadU(df, from);
}
template <class DF>
HWY_INLINE hn::Vec<DF> LoadWidened(DF df, const bf16* from) {
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint16_t, DF> du16;
  const auto bits = hn::LoadU(du16, &from->bits);
  return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du, bits)));
}

// The same, rounded to nearest even as bf16(float) does, NaN kept NaN.
template <class DF>
HWY_INLINE void StoreRounded(DF df, hn::Vec<DF> value, float* to) {
  hn::StoreU(value, df, to);
}
template <class DF>
HWY_INLINE void StoreRounded(DF /*df*/, hn::Vec<DF> value, bf16* to) {
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint16_t, DF> du16;
  const auto bits = hn::BitCast(du, value);
  const auto lowest_kept = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded =
      hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7fffu)), lowest_kept));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x0040u));
  const auto kept = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(value)), quiet, rounded);
  // 16 bits never reach the sign of 32: the saturating demotion is exact.
  hn::StoreU(hn::DemoteTo(du16, hn::BitCast(di, kept)), du16, &to->bits);
}

// packed[0 … RoundUp(D, 16)) = row · factor, zero beyond D.
template <typename T>
HWY_INLINE void PackRow(const T* row, int64_t D, float factor, float* packed) {
  const FloatTag df;
  const FloatVector factors = hn::Set(df, factor);
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) {
    hn::Store(hn::Mul(LoadWidened(df, row + d), factors), df, packed + d);
  }
  for (; d < D; ++d) packed[d] = static_cast<float>(row[d]) * factor;
  std::fill(packed + D, packed + RoundUp(D, 16), 0.0f);
}

// row[0 … D) = packed · factor, rounded.
template <typename T>
HWY_INLINE void UnpackRow(const float* packed, int64_t D, float factor, T* row) {
  const FloatTag df;
  const FloatVector factors = hn::Set(df, factor);
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) {
    StoreRounded(df, hn::Mul(hn::Load(df, packed + d), factors), row + d);
  }
  for (; d < D; ++d) row[d] = T(packed[d] * factor);
}

// packed[d · kPanel + column] = rows[column][d] for `columns` (1…4) rows `stride` apart.
template <typename T>
HWY_INLINE void TransposeRows(const T* rows, int64_t stride, int64_t columns, int64_t D,
                              float* packed) {
  int64_t d = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d4;
  const hn::Repartition<double, decltype(d4)> d2;
  for (; d + 4 <= D && columns == 4; d += 4) {
    const auto r0 = LoadWidened(d4, rows + d);
    const auto r1 = LoadWidened(d4, rows + stride + d);
    const auto r2 = LoadWidened(d4, rows + 2 * stride + d);
    const auto r3 = LoadWidened(d4, rows + 3 * stride + d);
    const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d4, r0, r1));
    const auto low23 = hn::BitCast(d2, hn::InterleaveLower(d4, r2, r3));
    const auto high01 = hn::BitCast(d2, hn::InterleaveUpper(d4, r0, r1));
    const auto high23 = hn::BitCast(d2, hn::InterleaveUpper(d4, r2, r3));
    float* to = packed + d * kPanel;
    hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, low01, low23)), d4, to);
    hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, low01, low23)), d4, to + kPanel);
    hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, high01, high23)), d4, to + 2 * kPanel);
    hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, high01, high23)), d4, to + 3 * kPanel);
  }
#endif
  for (; d < D; ++d) {
    for (int64_t column = 0; column < columns; ++column) {
      packed[d * kPanel + column] = static_cast<float>(rows[column * stride + d]);
    }
  }
}

// (T, D) rows `stride` apart → (D, T) in panels of kPanel columns, zero beyond T. factors: one a
// row, factor_stride apart, or null.
template <typename T>
HWY_INLINE void PackTransposed(const T* rows, int64_t stride, int64_t count, int64_t D,
                               const float* factors, int64_t factor_stride, float* packed) {
  const FloatTag df;
  for (int64_t first = 0; first < count; first += kPanel) {
    float* panel = packed + first * D;
    const int64_t columns = std::min(kPanel, count - first);
    if (columns < kPanel) std::fill_n(panel, D * kPanel, 0.0f);
    for (int64_t column = 0; column < columns; column += 4) {
      TransposeRows(rows + (first + column) * stride, stride,
                    std::min<int64_t>(4, columns - column), D, panel + column);
    }
    if (factors == nullptr) continue;
    HWY_ALIGN float panel_factors[kPanel] = {};
    for (int64_t column = 0; column < columns; ++column) {
      panel_factors[column] = factors[(first + column) * factor_stride];
    }
    for (int64_t d = 0; d < D; ++d) {
      for (int64_t column = 0; column < kPanel; column += kLanes) {
        float* at = panel + d * kPanel + column;
        hn::Store(hn::Mul(hn::Load(df, at), hn::Load(df, panel_factors + column)), df, at);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_PACK_H_
