// The passes around a GEMM that the library does not do well: transposition with column sums,
// adding a product to a gradient, and widening and rounding where the processor has no bf16 GEMM.
// Vectorized by Highway, parallel over the compute threads.
#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace sluice::cpu {

// transposed[m][n] = matrix[n][first + m] for m < count, n < rows. Where column_sums is not null
// also column_sums[first + m] += Σ_n matrix[n][first + m], summed in fp32 in the order of n: the
// same bits for any number of threads and any split into calls.
template <typename T>  // float, bf16
struct TransposeColumnsArgs {
  const T* matrix;     // (rows, at least first + count), rows `stride` elements apart
  T* transposed;       // (count, rows), rows transposed_stride >= rows apart
  float* column_sums;  // (at least first + count) or null, ADDED to
  int64_t rows, first, count;
  int64_t stride, transposed_stride;
};

template <typename T>
void TransposeColumns(const TransposeColumnsArgs<T>& args);

// sum[i] += addend[i].
void AddInto(const float* addend, float* sum, int64_t count);

// wide = values and values = round(wide), row by row; strides in elements.
void WidenRows(const bf16* values, int64_t stride, float* wide, int64_t rows, int64_t columns);
void RoundRows(const float* wide, bf16* values, int64_t stride, int64_t rows, int64_t columns);

}  // namespace sluice::cpu
