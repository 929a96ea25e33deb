// A row of hidden states under dropout, as LayerNorm and the dropout op walk it: columns in
// vectors, each with the mask that kernels/api/dropout.h defines.
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

// body(column, memory, keep) for every vector of row n of (N, columns) hidden states; `keep` is the
// mask of kept elements. Within a block of 128 columns not in rising order, but always in the same.
template <class DF, class Body>
HWY_INLINE void ForEachDropoutVector(DF df, const Dropout& dropout, int64_t n, int64_t columns,
                                     const Body& body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(df));
  const int64_t sample = n / dropout.rows_per_sample;
  const int64_t row = n - sample * dropout.rows_per_sample;
  const DropoutStream stream = MakeDropoutStream(dropout, dropout.sample_index[sample], columns);
  for (int64_t block = 0; block < stream.blocks_per_row; ++block) {
    ForEachDropoutMask(df, stream, row, block, [&](int64_t offset, auto keep) HWY_ATTR {
      const int64_t column = block * 128 + offset;
      if (column + lanes <= columns) {
        body(column, WholeVector(), keep);
      } else if (column < columns) {
        body(column, PartialVector{columns - column}, keep);
      }
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_DROPOUT_ROW_H_
