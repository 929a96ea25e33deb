// The elementwise middle of attention on one row of a strip: softmax, its backward, dropout. A
// Highway "-inl" header.
//
// A row lies in a segment of a strip whose column 0 is key `origin`; only the visible keys [begin,
// end) are meaningful when a function is entered, the vectors that hold them are complete
// (invisible keys zero) when it returns.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_SOFTMAX_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_SOFTMAX_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_SOFTMAX_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_SOFTMAX_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/philox_vector.h"
#include "kernels/cpu/vector_math.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Columns [begin, end) of a strip and the whole vectors around them.
struct StripColumns {
  int64_t begin, end;
  int64_t first_vector, last_vector;  // columns, multiples of kLanes; [first, last)

  StripColumns(const cpu::KeyRange& keys, int64_t origin)
      : begin(keys.begin - origin),
        end(keys.end - origin),
        first_vector(begin / kLanes * kLanes),
        last_vector(RoundUp(end, kLanes)) {}
};

// Of one row in backward.
struct RowSums {
  float dot = 0;  // Σ p · gradient of p: what softmax's backward subtracts
  float weighted = 0;  // Σ p̃ · ⟨dout, v⟩: the query gate's gradient. The same unless p is clipped
};

// Makes the invisible columns of a row's outer vectors `value`.
HWY_INLINE void FillInvisible(const StripColumns& columns, float value, float* row) {
  std::fill(row + columns.first_vector, row + columns.begin, value);
  std::fill(row + columns.end, row + columns.last_vector, value);
}

// Zeroes the columns that `group` sees but this row does not, so that products over a group of rows
// may run over the union of what they see.
HWY_INLINE void ZeroUnseen(const cpu::KeyRange& group, const cpu::KeyRange& keys, int64_t origin,
                           float* row) {
  if (keys.empty()) {
    if (!group.empty()) std::fill(row + group.begin - origin, row + group.end - origin, 0.0f);
    return;
  }
  if (group.begin < keys.begin) {
    std::fill(row + group.begin - origin, row + keys.begin - origin, 0.0f);
  }
  if (keys.end < group.end) std::fill(row + keys.end - origin, row + group.end - origin, 0.0f);
}

// e^x for x <= 0 (or a rounding above), 2 units in the last place: the coefficients and the split
// of ln 2 are ExpOfNonPositive's, but the nearest integer is found by adding a number so large that
// the fraction falls off, which costs half of what conversions cost.
HWY_INLINE FloatVector SoftmaxExp(FloatVector x) {
  const FloatTag df;
  const hn::RebindToSigned<FloatTag> di;
  // 1.5 · 2^23 + 127: the low bits of the sum are n + 127, the exponent field of 2^n.
  const FloatVector shifter = hn::Set(df, 12583039.0f);
  const FloatVector shifted = hn::MulAdd(x, hn::Set(df, 1.44269504088896341f), shifter);
  const FloatVector n = hn::Sub(shifted, shifter);
  FloatVector r = hn::NegMulAdd(n, hn::Set(df, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(df, -2.12194440e-4f), r);
  static constexpr float kQuotient[] = {0.500000001346221f, 0.166665770031603f,
                                        0.041666464976159764f, 0.008363175565474494f,
                                        0.0013933643520164377f};
  const FloatVector e_to_r =
      hn::Add(hn::MulAdd(hn::Mul(r, r), Polynomial(df, r, kQuotient), r), hn::Set(df, 1.0f));
  const FloatVector power = hn::BitCast(df, hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(df, -87.0f)), hn::Mul(e_to_r, power));
}

// The largest score of a row; makes its outer vectors complete (invisible scores -infinity).
HWY_INLINE float LargestOfRow(const StripColumns& columns, float* row) {
  const FloatTag df;
  FillInvisible(columns, -std::numeric_limits<float>::infinity(), row);
  FloatVector largest0 = hn::Load(df, row + columns.first_vector);
  FloatVector largest1 = largest0;
  int64_t c = columns.first_vector + kLanes;
  for (; c + 2 * kLanes <= columns.last_vector; c += 2 * kLanes) {
    largest0 = hn::Max(largest0, hn::Load(df, row + c));
    largest1 = hn::Max(largest1, hn::Load(df, row + c + kLanes));
  }
  if (c < columns.last_vector) largest0 = hn::Max(largest0, hn::Load(df, row + c));
  return hn::GetLane(hn::MaxOfLanes(df, hn::Max(largest0, largest1)));
}

// row = exp(row - largest), not yet divided by its sum, which is returned.
HWY_INLINE float ExponentiateRow(const StripColumns& columns, float largest, float* row) {
  const FloatTag df;
  const FloatVector shift = hn::Set(df, largest);
  FloatVector sum0 = hn::Zero(df), sum1 = hn::Zero(df);
  int64_t c = columns.first_vector;
  for (; c + 2 * kLanes <= columns.last_vector; c += 2 * kLanes) {
    const FloatVector p0 = SoftmaxExp(hn::Sub(hn::Load(df, row + c), shift));
    const FloatVector p1 = SoftmaxExp(hn::Sub(hn::Load(df, row + c + kLanes), shift));
    hn::Store(p0, df, row + c);
    hn::Store(p1, df, row + c + kLanes);
    sum0 = hn::Add(sum0, p0);
    sum1 = hn::Add(sum1, p1);
  }
  if (c < columns.last_vector) {
    const FloatVector p = SoftmaxExp(hn::Sub(hn::Load(df, row + c), shift));
    hn::Store(p, df, row + c);
    sum0 = hn::Add(sum0, p);
  }
  return hn::GetLane(hn::SumOfLanes(df, hn::Add(sum0, sum1)));
}

// Calls apply(column, keep) for each vector of the row, `keep` its dropout mask. dropout_row:
// h·T+i.
template <typename Apply>
HWY_INLINE void ForEachDropoutVector(const DropoutStream& stream, int64_t dropout_row,
                                     const StripColumns& columns, int64_t origin,
                                     const Apply& apply) {
  const FloatTag df;
  const int64_t first_block = (origin + columns.begin) / 128;
  const int64_t last_block = (origin + columns.end - 1) / 128;
  for (int64_t block = first_block; block <= last_block; ++block) {
    const int64_t block_column = block * 128 - origin;
    ForEachDropoutMask(df, stream, dropout_row, block, [&](int64_t offset, auto keep) HWY_ATTR {
      const int64_t column = block_column + offset;
      if (column >= columns.first_vector && column < columns.last_vector) apply(column, keep);
    });
  }
}

// Zeroes what dropout drops; the scale is left to the caller.
HWY_INLINE void DropRow(const DropoutStream& stream, int64_t dropout_row,
                        const StripColumns& columns, int64_t origin, float* row) {
  const FloatTag df;
  ForEachDropoutVector(stream, dropout_row, columns, origin,
                       [&](int64_t column, auto keep) HWY_ATTR {
                         const FloatVector p = hn::Load(df, row + column);
                         hn::Store(hn::IfThenElseZero(keep, p), df, row + column);
                       });
}

// Backward, first pass without dropout: row = p = exp(row - log_sum_exp); returns Σ p · drow, where
// drow holds ⟨dout, v⟩.
HWY_INLINE float RecomputeRow(const StripColumns& columns, float log_sum_exp, float* row,
                              float* drow) {
  const FloatTag df;
  FillInvisible(columns, -std::numeric_limits<float>::infinity(), row);
  FillInvisible(columns, 0, drow);
  const FloatVector shift = hn::Set(df, log_sum_exp);
  FloatVector sum = hn::Zero(df);
  for (int64_t c = columns.first_vector; c < columns.last_vector; c += kLanes) {
    const FloatVector p = SoftmaxExp(hn::Sub(hn::Load(df, row + c), shift));
    hn::Store(p, df, row + c);
    sum = hn::MulAdd(p, hn::Load(df, drow + c), sum);
  }
  return hn::GetLane(hn::SumOfLanes(df, sum));
}

// The same with dropout: drow becomes mask · scale · drow, and dropped probabilities get a minus
// sign, which saves the second pass the random numbers. Returns Σ p · mask · scale · drow.
HWY_INLINE float RecomputeDroppedRow(const DropoutStream& stream, int64_t dropout_row,
                                     const StripColumns& columns, int64_t origin, float log_sum_exp,
                                     float* row, float* drow) {
  const FloatTag df;
  FillInvisible(columns, -std::numeric_limits<float>::infinity(), row);
  FillInvisible(columns, 0, drow);
  const FloatVector shift = hn::Set(df, log_sum_exp);
  const FloatVector scale = hn::Set(df, stream.scale);
  FloatVector sum = hn::Zero(df);
  ForEachDropoutVector(
      stream, dropout_row, columns, origin, [&](int64_t column, auto keep) HWY_ATTR {
        const FloatVector p = SoftmaxExp(hn::Sub(hn::Load(df, row + column), shift));
        const FloatVector dp =
            hn::IfThenElseZero(keep, hn::Mul(hn::Load(df, drow + column), scale));
        hn::Store(hn::IfThenElse(keep, p, hn::Neg(p)), df, row + column);
        hn::Store(dp, df, drow + column);
        sum = hn::MulAdd(p, dp, sum);
      });
  return hn::GetLane(hn::SumOfLanes(df, sum));
}

// Backward, second pass: drow = gate · p · (drow - dot), the gradient of the scores; row = gate ·
// kept p · dropout_scale. p is |row|, and is kept where row has no minus sign.
HWY_INLINE void DifferentiateRow(const StripColumns& columns, float dot, float gate,
                                 float dropout_scale, float* row, float* drow) {
  const FloatTag df;
  const FloatVector dots = hn::Set(df, dot);
  const FloatVector gates = hn::Set(df, gate);
  const FloatVector kept_scale = hn::Set(df, gate * dropout_scale);
  for (int64_t c = columns.first_vector; c < columns.last_vector; c += kLanes) {
    const FloatVector signed_p = hn::Load(df, row + c);
    const FloatVector p = hn::Mul(hn::Abs(signed_p), gates);
    hn::Store(hn::Mul(p, hn::Sub(hn::Load(df, drow + c), dots)), df, drow + c);
    hn::Store(hn::Mul(hn::Max(signed_p, hn::Zero(df)), kept_scale), df, row + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_SOFTMAX_H_
