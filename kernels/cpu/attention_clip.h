// Clipped softmax on one row of a strip, beside attention_softmax.h: p' = clip(stretch · p + gamma,
// 0, 1) with stretch = zeta - gamma. gamma <= 0, so that invisible columns (p = 0) stay zero. A
// Highway "-inl" header.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_CLIP_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_CLIP_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_CLIP_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_CLIP_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/attention_softmax.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/philox_vector.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE FloatVector ClipToUnit(FloatVector x) {
  const FloatTag df;
  return hn::Min(hn::Max(x, hn::Zero(df)), hn::Set(df, 1.0f));
}

// row = clip(row · factor + gamma, 0, 1); factor: stretch over the row's sum.
HWY_INLINE void ClipRow(const StripColumns& columns, float factor, float gamma, float* row) {
  const FloatTag df;
  const FloatVector factors = hn::Set(df, factor), gammas = hn::Set(df, gamma);
  for (int64_t c = columns.first_vector; c < columns.last_vector; c += kLanes) {
    hn::Store(ClipToUnit(hn::MulAdd(hn::Load(df, row + c), factors, gammas)), df, row + c);
  }
}

// One row in backward.
struct ClippedRow {
  StripColumns columns;
  int64_t origin, dropout_row;
  float log_sum_exp, stretch, gamma;
  float* row;   // scores → p, negative where dropped
  float* drow;  // ⟨dout, v⟩ → gradient of p
};

// First pass: what RecomputeRow and RecomputeDroppedRow do, through the clip. stream null: no
// dropout.
HWY_INLINE RowSums RecomputeClippedRow(const DropoutStream* stream, const ClippedRow& clipped) {
  const FloatTag df;
  float* row = clipped.row;
  float* drow = clipped.drow;
  FillInvisible(clipped.columns, -std::numeric_limits<float>::infinity(), row);
  FillInvisible(clipped.columns, 0, drow);
  const FloatVector shift = hn::Set(df, clipped.log_sum_exp), one = hn::Set(df, 1.0f);
  const FloatVector stretch = hn::Set(df, clipped.stretch), gamma = hn::Set(df, clipped.gamma);
  const FloatVector scale = hn::Set(df, stream == nullptr ? 1.0f : stream->scale);
  FloatVector sum = hn::Zero(df), weighted_sum = hn::Zero(df);
  const auto apply = [&](int64_t column, auto keep) HWY_ATTR {
    const FloatVector p = SoftmaxExp(hn::Sub(hn::Load(df, row + column), shift));
    const FloatVector unclipped = hn::MulAdd(p, stretch, gamma);
    const FloatVector dweight =
        hn::IfThenElseZero(keep, hn::Mul(hn::Load(df, drow + column), scale));
    const auto passes = hn::And(hn::Ge(unclipped, hn::Zero(df)), hn::Le(unclipped, one));
    const FloatVector dp = hn::IfThenElseZero(passes, hn::Mul(dweight, stretch));
    hn::Store(hn::IfThenElse(keep, p, hn::Neg(p)), df, row + column);
    hn::Store(dp, df, drow + column);
    sum = hn::MulAdd(p, dp, sum);
    weighted_sum = hn::MulAdd(ClipToUnit(unclipped), dweight, weighted_sum);
  };
  if (stream != nullptr) {
    ForEachDropoutVector(*stream, clipped.dropout_row, clipped.columns, clipped.origin, apply);
  } else {
    const auto all = hn::Eq(one, one);
    for (int64_t c = clipped.columns.first_vector; c < clipped.columns.last_vector; c += kLanes) {
      apply(c, all);
    }
  }
  return {.dot = hn::GetLane(hn::SumOfLanes(df, sum)),
          .weighted = hn::GetLane(hn::SumOfLanes(df, weighted_sum))};
}

// Second pass: what DifferentiateRow does, the probabilities clipped.
HWY_INLINE void DifferentiateClippedRow(const ClippedRow& clipped, float dot, float gate,
                                        float dropout_scale) {
  const FloatTag df;
  const FloatVector dots = hn::Set(df, dot), gates = hn::Set(df, gate);
  const FloatVector stretch = hn::Set(df, clipped.stretch), gamma = hn::Set(df, clipped.gamma);
  const FloatVector kept_scale = hn::Set(df, gate * dropout_scale);
  for (int64_t c = clipped.columns.first_vector; c < clipped.columns.last_vector; c += kLanes) {
    const FloatVector signed_p = hn::Load(df, clipped.row + c);
    const FloatVector p = hn::Mul(hn::Abs(signed_p), gates);
    const FloatVector kept = hn::Max(signed_p, hn::Zero(df));  // 0 clips to 0
    float* drow = clipped.drow + c;
    hn::Store(hn::Mul(p, hn::Sub(hn::Load(df, drow), dots)), df, drow);
    hn::Store(hn::Mul(ClipToUnit(hn::MulAdd(kept, stretch, gamma)), kept_scale), df,
              clipped.row + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_CLIP_H_
