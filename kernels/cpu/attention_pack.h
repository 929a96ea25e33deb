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
#include "kernels/cpu/vector_memory.h"
#include "kernels/cpu/vector_transpose.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// packed[0 … RoundUp(D, 16)) = row · factor, zero beyond D.
template <typename T>
HWY_INLINE void PackRow(const T* row, int64_t D, float factor, float* packed) {
  const FloatTag df;
  const FloatVector factors = hn::Set(df, factor);
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) {
    hn::Store(hn::Mul(LoadFloats(df, row + d), factors), df, packed + d);
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
    StoreFloats(df, hn::Mul(hn::Load(df, packed + d), factors), row + d);
  }
  for (; d < D; ++d) row[d] = T(packed[d] * factor);
}

// The same with a factor for each element.
template <typename T>
HWY_INLINE void PackGatedRow(const T* row, int64_t D, const float* gates, float* packed) {
  const FloatTag df;
  ForEachVector(df, 0, D, [&](int64_t d, auto memory) HWY_ATTR {
    const FloatVector values = memory.Load(df, row + d);
    memory.Store(df, hn::Mul(values, memory.Load(df, gates + d)), packed + d);
  });
  std::fill(packed + D, packed + RoundUp(D, 16), 0.0f);
}
template <typename T>
HWY_INLINE void UnpackGatedRow(const float* packed, int64_t D, float factor, const float* gates,
                               T* row) {
  const FloatTag df;
  const FloatVector factors = hn::Set(df, factor);
  ForEachVector(df, 0, D, [&](int64_t d, auto memory) HWY_ATTR {
    const FloatVector values = hn::Mul(memory.Load(df, packed + d), factors);
    memory.Store(df, hn::Mul(values, memory.Load(df, gates + d)), row + d);
  });
}

// packed[d · kPanel + column] = rows[column · stride + d] for `columns` (1…kLanes) rows.
template <typename T>
HWY_INLINE void TransposeRows(const T* rows, int64_t stride, int64_t columns, int64_t D,
                              float* packed) {
  int64_t d = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; d + kLanes <= D && columns == kLanes; d += kLanes) {
    TransposeSquare<kLanes>(rows + d, stride, packed + d * kPanel, kPanel);
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
    for (int64_t column = 0; column < columns; column += kLanes) {
      TransposeRows(rows + (first + column) * stride, stride, std::min(kLanes, columns - column), D,
                    panel + column);
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

// The keys or the values of one head as they lie in memory.
template <typename T>
struct HeadRows {
  const T* sink;    // (D), or null: no sink token
  const T* tokens;  // (T, D), rows stride apart
  int64_t stride;
  const float* gates = nullptr;  // of token 0, gate_stride to the next token's; null: none
  int64_t gate_stride = 0;
  bool per_channel = false;  // D gates a token, else one

  // Whether PackTransposed can read them where they lie.
  bool plain() const { return sink == nullptr && !per_channel; }
};

template <typename T, typename Args>
HeadRows<T> KeysOf(const Args& args, int64_t b, int64_t h) {
  return {.sink = args.sink_key == nullptr ? nullptr : args.sink_key + h * args.D,
          .tokens = args.k + b * args.T_ * args.qkv_stride + h * args.D,
          .stride = args.qkv_stride};
}

// With the gates of the key site.
template <typename T, typename Args>
HeadRows<T> ValuesOf(const Args& args, int64_t b, int64_t h) {
  HeadRows<T> values = {.sink = args.sink_value == nullptr ? nullptr : args.sink_value + h * args.D,
                        .tokens = args.v + b * args.T_ * args.qkv_stride + h * args.D,
                        .stride = args.qkv_stride};
  if (args.gate_site != GateSite::kKey) return values;
  const int64_t width = args.gate_per_channel ? args.D : 1;  // gates of one head
  values.gates = args.gate + (b * args.T_ * args.H + h) * width;
  values.gate_stride = args.H * width;
  values.per_channel = args.gate_per_channel;
  return values;
}

// packed (keys, D): the sink token, then the tokens times their gates.
template <typename T>
HWY_INLINE void PackHeadRows(const HeadRows<T>& rows, int64_t tokens, int64_t D, float* packed) {
  const int64_t packed_stride = cpu::PackedRowStride(D);
  if (rows.sink != nullptr) {
    PackRow(rows.sink, D, 1, packed);
    packed += packed_stride;
  }
  for (int64_t t = 0; t < tokens; ++t, packed += packed_stride) {
    const T* row = rows.tokens + t * rows.stride;
    const float* gates = rows.gates == nullptr ? nullptr : rows.gates + t * rows.gate_stride;
    if (rows.per_channel) {
      PackGatedRow(row, D, gates, packed);
    } else {
      PackRow(row, D, gates == nullptr ? 1 : *gates, packed);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_PACK_H_
