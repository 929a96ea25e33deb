// Whole-buffer passes that have no better home: sums for norms, conversions, adding, filling.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"

namespace sluice {

namespace reference {
double SumOfSquares(const double* x, int64_t count);
}
namespace cpu {

// Σ x² in double. The same bits for any number of threads (fixed blocks, summed in order). NaN and
// infinity come through.
template <typename T>  // float, bf16
double SumOfSquares(const T* x, int64_t count);

// y = x, rounded to the nearest. float → bf16, bf16 → float.
template <typename From, typename To>
void Convert(const From* x, To* y, int64_t count);

// y += x.
template <typename T>
void AddInPlace(const T* x, T* y, int64_t count);

// Sets bytes to zero, in parallel.
void ZeroFill(void* memory, int64_t bytes);

}  // namespace cpu
}  // namespace sluice
