// Attention without a softmax on one row of a strip, beside attention_softmax.h: p = max(s, 0) / n,
// n the keys that the row sees. A Highway "-inl" header.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_RELU_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_RELU_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_RELU_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_RELU_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_softmax.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/philox_vector.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Keys that row r of a block sees.
inline int64_t KeysSeen(const cpu::QueryBlock& block, int64_t r) {
  int64_t count = 0;
  for (const cpu::KeySegment& segment : block.segments()) {
    if (!segment.keys[r].empty()) count += segment.keys[r].end - segment.keys[r].begin;
  }
  return count;
}

// row = max(row, 0), not yet divided by the keys seen.
HWY_INLINE void RectifyRow(const StripColumns& columns, float* row) {
  const FloatTag df;
  FillInvisible(columns, 0, row);
  for (int64_t c = columns.first_vector; c < columns.last_vector; c += kLanes) {
    hn::Store(hn::Max(hn::Load(df, row + c), hn::Zero(df)), df, row + c);
  }
}

// One row in backward.
struct RectifiedRow {
  StripColumns columns;
  int64_t origin, dropout_row;
  float share;  // 1 / the keys seen
  float gate;   // of the query, where it is one number
  float* row;   // scores → gated, dropped-out weights
  float* drow;  // ⟨dout, v⟩ → gradient of the scores
};

// In one pass, since no sum over the row is needed first. stream null: no dropout. Returns
// Σ p̃ · ⟨dout, v⟩.
HWY_INLINE float DifferentiateRectifiedRow(const DropoutStream* stream,
                                           const RectifiedRow& rectified) {
  const FloatTag df;
  FillInvisible(rectified.columns, 0, rectified.row);
  FillInvisible(rectified.columns, 0, rectified.drow);
  const FloatVector zero = hn::Zero(df), share = hn::Set(df, rectified.share);
  const FloatVector gate = hn::Set(df, rectified.gate);
  const FloatVector scale = hn::Set(df, stream == nullptr ? 1.0f : stream->scale);
  FloatVector sum = zero;
  const auto apply = [&](int64_t column, auto keep) HWY_ATTR {
    const FloatVector score = hn::Load(df, rectified.row + column);
    const FloatVector factor = hn::IfThenElseZero(keep, hn::Mul(scale, share));
    const FloatVector weight = hn::Mul(hn::Max(score, zero), factor);
    const FloatVector dweight = hn::Load(df, rectified.drow + column);
    const FloatVector slope = hn::IfThenElseZero(hn::Gt(score, zero), factor);
    sum = hn::MulAdd(weight, dweight, sum);
    hn::Store(hn::Mul(weight, gate), df, rectified.row + column);
    hn::Store(hn::Mul(hn::Mul(slope, dweight), gate), df, rectified.drow + column);
  };
  if (stream != nullptr) {
    ForEachDropoutVector(*stream, rectified.dropout_row, rectified.columns, rectified.origin,
                         apply);
  } else {
    const auto all = hn::Eq(zero, zero);
    const StripColumns& columns = rectified.columns;
    for (int64_t c = columns.first_vector; c < columns.last_vector; c += kLanes) apply(c, all);
  }
  return hn::GetLane(hn::SumOfLanes(df, sum));
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_RELU_H_
