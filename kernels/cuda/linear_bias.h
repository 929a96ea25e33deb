// What linear layers need beside the library's products: sums over rows, and a bias for every row.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/cuda_stream.h"

namespace sluice::cuda {

// sums[m] += Σ_n matrix[n · stride + m], in fp32 and one order.
template <typename T>  // float, bf16, fp16
struct ColumnSumsArgs {
  const T* matrix;  // (N, M), rows stride apart
  float* sums;      // (M)
  int64_t N, M, stride;
  float* workspace;  // room for at least M values
  int64_t workspace_values;
};
template <typename T>
absl::Status AddColumnSums(const ColumnSumsArgs<T>& args, Stream stream);

// rows[n · stride + m] = bias[m].
template <typename T>
struct SpreadBiasArgs {
  const T* bias;  // (M)
  float* rows;    // (N, M), rows stride apart
  int64_t N, M, stride;
};
template <typename T>
absl::Status SpreadBias(const SpreadBiasArgs<T>& args, Stream stream);

}  // namespace sluice::cuda
