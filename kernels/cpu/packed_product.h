// c = a · b [+ bias] or c += a · b in fp32, where b, a weight, was packed once for many products:
// forward, logits and the gradient of a layer's input. Faster than the library's with its own
// packed weight, and rows of a and c may lie apart.
#pragma once

#include <cstdint>

namespace sluice::cpu {

struct WeightPanelArgs {
  const float* weight;  // element (i, c) at i · inner_stride + c · column_stride; one of them is 1
  int64_t inner, columns;
  int64_t inner_stride, column_stride;
  void* packed;  // PackedProductBytes(inner, columns), 64-byte aligned
};

void PackWeightPanels(const WeightPanelArgs& args);
int64_t PackedProductBytes(int64_t inner, int64_t columns);

struct PackedProductArgs {
  const float* a;     // (rows, inner), rows a_stride apart
  const void* b;      // packed: (inner, columns)
  const float* bias;  // (columns) or null; null where c is added to
  float* c;           // (rows, columns), rows c_stride apart
  bool add_to_c;      // false: c is overwritten
  int64_t rows, inner, columns;
  int64_t a_stride, c_stride;  // elements
  void* workspace;             // PackedProductWorkspaceBytes(rows, inner), 64-byte aligned
};

// How the sum is cut into blocks depends on `inner` alone, and all of one element is summed by one
// thread: the same bits for any number of threads. rows, inner, columns >= 1.
void MultiplyPacked(const PackedProductArgs& args);

// For the compute threads of the caller.
int64_t PackedProductWorkspaceBytes(int64_t rows, int64_t inner);

// Whether it beats the library with this processor's vectors and such a weight, for any number of
// rows (measured: docs/measurements_gemm.md).
bool PackedProductIsFaster(int64_t inner, int64_t columns);

}  // namespace sluice::cpu
