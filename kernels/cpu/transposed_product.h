// c += aᵀ · b in fp32, for matrices whose rows are what is summed over: a weight gradient. The
// library wants aᵀ in memory, and adds slowly; here neither is needed. Both operands are packed
// into panels whose rows are pieces of their rows, and a tile of c is summed in registers and then
// added where it lies (K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication", ACM TOMS 34(3), 2008).
#pragma once

#include <cstdint>

namespace sluice::cpu {

struct TransposedProductArgs {
  const float* a;  // (depth, rows), rows a_stride apart
  const float* b;  // (depth, columns), rows b_stride apart
  float* c;        // (rows, columns), adjacent; ADDED to
  float* a_sums;   // (rows) or null: Σ_n a[n], ADDED to
  int64_t depth, rows, columns;
  int64_t a_stride, b_stride;  // elements
  void* workspace;             // TransposedProductWorkspaceBytes(rows, columns), 64-byte aligned
};

// How depth is cut into blocks depends on it alone, and all of one element is summed by one thread:
// the same bits for any number of threads. depth, rows, columns >= 1.
void AddTransposedProduct(const TransposedProductArgs& args);

// For the compute threads of the caller and any depth.
int64_t TransposedProductWorkspaceBytes(int64_t rows, int64_t columns);

// Whether it beats the library with this processor's vectors, and then with so many rows (measured:
// docs/measurements_gemm.md).
bool HasFastTransposedProduct();
bool TransposedProductIsFaster(int64_t rows);

}  // namespace sluice::cpu
