// Attention's operands as AMX products read them: bf16 rows for the left side, pairs for the right
// side. A Highway "-inl" header, for AVX-512 only.
//
// Inputs are bf16 already; what is computed is rounded once before it enters a product:
// probabilities, gradients of scores, and values or gradients times a gate.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_AMX_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_AMX_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_AMX_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_AMX_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/bf16.h"
#include "hwy/highway.h"
#include "kernels/cpu/amx_tile.h"
#include "kernels/cpu/attention_amx_plan.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_softmax.h"
#include "kernels/cpu/vector_memory.h"
#include "kernels/cpu/vector_transpose.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

using WordTag = hn::RebindToUnsigned<FloatTag>;

// Whether scores may be computed from scaled queries without rounding these.
inline bool ScaleIsExact(float scale) {
  int exponent;
  return std::frexp(scale, &exponent) == 0.5f;
}

// rows (RoundUp(count, 32), depth): count rows of D elements times `factor`, zeros around them.
HWY_INLINE void CopyRow(const bf16* row, int64_t D, float factor, const float* gates, bf16* copy) {
  const FloatTag df;
  const FloatVector factors = hn::Set(df, factor);
  ForEachVector(df, 0, D, [&](int64_t d, auto memory) HWY_ATTR {
    FloatVector values = hn::Mul(memory.Load(df, row + d), factors);
    if (gates != nullptr) values = hn::Mul(values, memory.Load(df, gates + d));
    memory.Store(df, values, copy + d);
  });
  std::fill(copy + D, copy + cpu::AmxDepth(D), bf16(0.0f));
}

// The keys or values of a head that are not padding, and zeros behind them.
HWY_INLINE void CopyHeadRows(const HeadRows<bf16>& rows, int64_t tokens, int64_t D, int64_t padded,
                             bf16* copy) {
  const int64_t stride = cpu::AmxDepth(D);
  bf16* end = copy + padded * stride;
  if (rows.sink != nullptr) {
    CopyRow(rows.sink, D, 1, nullptr, copy);
    copy += stride;
  }
  for (int64_t t = 0; t < tokens; ++t, copy += stride) {
    const float* gates = rows.gates == nullptr ? nullptr : rows.gates + t * rows.gate_stride;
    const float factor = gates == nullptr || rows.per_channel ? 1 : *gates;
    CopyRow(rows.tokens + t * rows.stride, D, factor, rows.per_channel ? gates : nullptr, copy);
  }
  std::fill(copy, end, bf16(0.0f));
}

// transposed (words, rows): 32-bit words of `rows` rows; both counts are multiples of 16.
HWY_INLINE void TransposeWords(const bf16* matrix, int64_t stride, int64_t rows, int64_t words,
                               bf16* transposed, int64_t transposed_stride) {
  const auto* in = reinterpret_cast<const float*>(matrix);
  auto* out = reinterpret_cast<float*>(transposed);
  for (int64_t r = 0; r < rows; r += 16) {
    for (int64_t w = 0; w < words; w += 16) {
      TransposeSquare<16>(in + r * stride / 2 + w, stride / 2, out + w * transposed_stride / 2 + r,
                          transposed_stride / 2);
    }
  }
}

// pairs (rows / 2, columns pairs): rows 2k and 2k + 1 together.
HWY_INLINE void PairRows(const bf16* matrix, int64_t stride, int64_t rows, int64_t columns,
                         bf16* pairs, int64_t pairs_stride) {
  const WordTag d32;
  const hn::Rebind<uint16_t, WordTag> d16;
  for (int64_t r = 0; r < rows; r += 2) {
    const auto* even = reinterpret_cast<const uint16_t*>(matrix + r * stride);
    const auto* odd = reinterpret_cast<const uint16_t*>(matrix + (r + 1) * stride);
    auto* out = reinterpret_cast<uint32_t*>(pairs + r / 2 * pairs_stride);
    for (int64_t c = 0; c < columns; c += kLanes) {
      const auto low = hn::PromoteTo(d32, hn::LoadU(d16, even + c));
      const auto high = hn::PromoteTo(d32, hn::LoadU(d16, odd + c));
      hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(high)), d32, out + c);
    }
  }
}

// A row of a strip: its values where it was computed, zero elsewhere.
struct VisibleRow {
  const float* row;
  int64_t first, last;  // columns, multiples of kLanes

  VisibleRow(const cpu::KeySegment& segment, int64_t seeing, int64_t r, const float* strip_row)
      : row(strip_row), first(0), last(0) {
    if (r >= seeing || segment.keys[r].empty()) return;
    const StripColumns columns(segment.keys[r], segment.origin);
    first = columns.first_vector;
    last = columns.last_vector;
  }
  HWY_INLINE FloatVector At(int64_t c) const {
    const FloatTag df;
    return c >= first && c < last ? hn::Load(df, row + c) : hn::Zero(df);
  }
};

// Columns of a segment that products run over.
inline int64_t SegmentColumns(const cpu::KeySegment& segment) {
  return RoundUp(segment.all.end - segment.origin, cpu::kAmxDepth);
}

// Rounds a segment of a strip: as rows, as pairs of rows, or both (else null).
HWY_INLINE void RoundStrip(const cpu::ScratchSizes& sizes, const cpu::QueryBlock& block,
                           const cpu::KeySegment& segment, const float* strip, bf16* rows,
                           bf16* pairs) {
  const int64_t strip_stride = sizes.strip_stride(), key_stride = cpu::AmxKeyStride(sizes.keys);
  const FloatTag df;
  const WordTag d32;
  const hn::Rebind<uint16_t, FloatTag> d16;
  const hn::RebindToSigned<FloatTag> di32;
  const int64_t columns = SegmentColumns(segment);
  for (int64_t r = 0; r < RoundUp(block.rows, 2 * cpu::kAmxRows); r += 2) {
    const VisibleRow even(segment, block.seeing, r, strip + r * strip_stride);
    const VisibleRow odd(segment, block.seeing, r + 1, strip + (r + 1) * strip_stride);
    for (int64_t c = 0; c < columns; c += kLanes) {
      const auto low = Bf16Bits(df, even.At(c)), high = Bf16Bits(df, odd.At(c));
      if (rows != nullptr) {
        auto* out = reinterpret_cast<uint16_t*>(rows + r * key_stride + c);
        hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di32, low)), d16, out);
        hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di32, high)), d16, out + key_stride);
      }
      if (pairs == nullptr) continue;
      auto* out = reinterpret_cast<uint32_t*>(pairs + r * key_stride) + c;
      hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(high)), d32, out);
    }
  }
}

// Keys that 32 rows of a segment see together, from r on.
inline cpu::KeyRange SeenTogether(const cpu::QueryBlock& block, const cpu::KeySegment& segment,
                                  int64_t r) {
  const int64_t end = std::min(r + 2 * cpu::kAmxRows, block.seeing);
  if (r >= end) return {0, 0};
  const cpu::KeyRange seen = {segment.keys[r].begin, segment.keys[end - 1].end};
  return seen.empty() ? cpu::KeyRange{0, 0} : seen;
}

// strip = rows (rows, D) · columns (D, keys), where visible.
HWY_INLINE void MultiplyByKeys(const cpu::ScratchSizes& sizes, const cpu::QueryBlock& block,
                               const cpu::KeySegment& segment, const bf16* rows,
                               const bf16* columns, float* strip) {
  const int64_t D = sizes.D, strip_stride = sizes.strip_stride();
  const int64_t key_stride = cpu::AmxKeyStride(sizes.keys);
  constexpr int64_t kSide = cpu::kAmxRows;
  for (int64_t r = 0; r < block.rows; r += 2 * kSide) {
    const cpu::KeyRange seen = SeenTogether(block, segment, r);
    if (seen.empty()) continue;
    const int64_t first = seen.begin / kSide * kSide;
    cpu::MultiplyTiles({.a = rows + r * cpu::AmxDepth(D),
                        .b = columns + 2 * first,
                        .c = strip + r * strip_stride + first - segment.origin,
                        .a_stride = cpu::AmxDepth(D),
                        .b_stride = 2 * key_stride,
                        .c_stride = strip_stride,
                        .row_tiles = 2,
                        .column_tiles = CeilDiv(seen.end - first, kSide),
                        .depth = cpu::AmxDepth(D),
                        .accumulate = false});
  }
}

// out (rows, D) += rounded strip (rows, keys) · pairs of key rows (keys, D).
HWY_INLINE void AddProductByKeys(const cpu::ScratchSizes& sizes, const cpu::QueryBlock& block,
                                 const cpu::KeySegment& segment, const bf16* rows,
                                 const bf16* pairs, float* out) {
  const int64_t D = sizes.D, key_stride = cpu::AmxKeyStride(sizes.keys);
  constexpr int64_t kDepth = cpu::kAmxDepth;
  for (int64_t r = 0; r < block.rows; r += 2 * cpu::kAmxRows) {
    const cpu::KeyRange seen = SeenTogether(block, segment, r);
    if (seen.empty()) continue;
    const int64_t first = seen.begin / kDepth * kDepth;
    cpu::MultiplyTiles({.a = rows + r * key_stride + first - segment.origin,
                        .b = pairs + first * cpu::AmxDepth(D),
                        .c = out + r * cpu::PackedRowStride(D),
                        .a_stride = key_stride,
                        .b_stride = 2 * cpu::AmxDepth(D),
                        .c_stride = cpu::PackedRowStride(D),
                        .row_tiles = 2,
                        .column_tiles = CeilDiv(D, cpu::kAmxRows),
                        .depth = RoundUp(seen.end - first, kDepth),
                        .accumulate = true});
  }
}

// sums (D, keys) += transposed rows (D, block rows) · pairs of strip rows (block rows, keys).
HWY_INLINE void AddProductOverRows(const cpu::ScratchSizes& sizes, const cpu::QueryBlock& block,
                                   const cpu::KeySegment& segment, const bf16* transposed,
                                   const bf16* pairs, float* sums) {
  const int64_t key_stride = cpu::AmxKeyStride(sizes.keys);
  constexpr int64_t kSide = cpu::kAmxRows;
  if (segment.all.empty()) return;
  const int64_t first = segment.all.begin / kSide * kSide;
  cpu::MultiplyTiles({.a = transposed,
                      .b = pairs + 2 * (first - segment.origin),
                      .c = sums + first,
                      .a_stride = cpu::kQueryBlock,
                      .b_stride = 2 * key_stride,
                      .c_stride = key_stride,
                      .row_tiles = CeilDiv(sizes.D, kSide),
                      .column_tiles = CeilDiv(segment.all.end - first, kSide),
                      .depth = RoundUp(block.rows, cpu::kAmxDepth),
                      .accumulate = true});
}

// Multiplies the visible columns of a strip by the scale of the scores.
HWY_INLINE void ScaleStrip(const cpu::QueryBlock& block, float scale, float* strip,
                           int64_t strip_stride) {
  const FloatTag df;
  const FloatVector factor = hn::Set(df, scale);
  for (const cpu::KeySegment& segment : block.segments()) {
    for (int64_t r = 0; r < block.seeing; ++r) {
      if (segment.keys[r].empty()) continue;
      const StripColumns columns(segment.keys[r], segment.origin);
      float* row = strip + r * strip_stride + segment.column;
      for (int64_t c = columns.first_vector; c < columns.last_vector; c += kLanes) {
        hn::Store(hn::Mul(hn::Load(df, row + c), factor), df, row + c);
      }
    }
  }
}

#endif  // HWY_TARGET == HWY_AVX3

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_AMX_H_
