// What outlier metrics are made of: powers of each row's deviations from its mean, its largest
// value, and the squares of each channel. Sums are in double whatever is stored, in an order that
// depends on the shape alone.
//
//   mean = Σ_c x_c / C;  largest = max_c |x_c|;  power k = Σ_c (x_c - mean)^k, k = 2, 3, 4
//
// Where the mean is NaN, the largest is as well: a value that is none hides from a maximum, but not
// from a sum.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

struct RowMomentSums {
  double largest = 0, mean = 0;
  double second = 0, third = 0, fourth = 0;
};

template <typename T>
struct RowMomentsArgs {
  const T* x;              // (N, C), rows row_stride apart
  RowMomentSums* moments;  // (N), overwritten
  double* squares;  // (N / group, C), overwritten: Σ x² of a channel over `group` neighbouring
                    // rows, in their order. Squares of stored floats are exact in double, so
                    // every implementation has the same bits
  int64_t N, C;
  int64_t group;  // divides N
  int64_t row_stride;
};

namespace reference {
void RowMoments(const RowMomentsArgs<double>& args);
}
namespace cpu {
template <typename T>  // float, bf16
absl::Status RowMoments(const RowMomentsArgs<T>& args);
}
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status RowMoments(const RowMomentsArgs<T>& args, Stream stream);
}

}  // namespace sluice
