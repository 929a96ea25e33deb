// How fast the matrix products of a model could be at best: what its speed is compared with.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/device.h"
#include "runtime/dtype.h"

namespace sluice {

// GFLOP/s of y (rows, columns) = x (rows, inner) · Wᵀ in fp32, bf16 or (GPU) fp16, as the linear op
// runs it on `device`; best of `repetitions` >= 1 after one call that is not timed.
struct MatmulShape {
  int64_t rows, inner, columns;
};
absl::StatusOr<double> MeasureMatmulGflops(Device& device, DType dtype, const MatmulShape& shape,
                                           int repetitions);

}  // namespace sluice
