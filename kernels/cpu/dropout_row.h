// A row of hidden states under dropout, as LayerNorm and the dropout op walk it: columns in
// vectors, each with the factors (0 or the scale) that kernels/api/dropout.h defines.
//
// A Highway "-inl" header: include it after hwy/foreach_target.h and hwy/highway.h, once a target.
#if defined(SLUICE_KERNELS_CPU_DROPOUT_ROW_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_DROPOUT_ROW_H_
#undef SLUICE_KERNELS_CPU_DROPOUT_ROW_H_
#else
#define SLUICE_KERNELS_CPU_DROPOUT_ROW_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/api/dropout.h"
#include "kernels/cpu/philox_vector.h"
#include "kernels/cpu/vector_memory.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// body(column, memory, factor) for every vector of row n of (N, columns) hidden states, in rising
// order. The factors of 128 columns are laid out in the first-level cache between the drawing,
// which jumps, and the body, which does not: so there is one copy of the body and not one a jump.
template <class DF, class Body>
HWY_INLINE void ForEachDropoutVector(DF df, const Dropout& dropout, int64_t n, int64_t columns,
                                     const Body& body) {
  const int64_t sample = n / dropout.rows_per_sample;
  const int64_t row = n - sample * dropout.rows_per_sample;
  const DropoutStream stream = MakeDropoutStream(dropout, dropout.sample_index[sample], columns);
  const auto scale = hn::Set(df, stream.scale);
  alignas(64) float factors[128];
  for (int64_t begin = 0; begin < columns; begin += 128) {
    ForEachDropoutMask(df, stream, row, begin / 128, [&](int64_t offset, auto keep) HWY_ATTR {
      hn::Store(hn::IfThenElseZero(keep, scale), df, factors + offset);
    });
    ForEachVector(df, begin, HWY_MIN(columns, begin + 128), [&](int64_t c, auto memory) HWY_ATTR {
      body(c, memory, hn::Load(df, factors + (c - begin)));
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_DROPOUT_ROW_H_
