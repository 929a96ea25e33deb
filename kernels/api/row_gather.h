// Picks rows: the masked positions that the vocabulary loss looks at.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

// y[m] = x[rows[m]] for m < M; rows[m] = -1 gives a row of zeros (padding to a size that kernels
// like).
template <typename T>
struct RowGatherArgs {
  const T* x;           // (N, C)
  const int32_t* rows;  // (M), each -1 or in [0, N), no row twice
  T* y;                 // (M, C), overwritten
  int64_t N, M, C;
};

// dx[rows[m]] = dy[m] where rows[m] >= 0. The other rows of dx are left as they are: zero them once
// per step first.
template <typename T>
struct RowScatterArgs {
  const T* dy;          // (M, C)
  const int32_t* rows;  // (M)
  T* dx;                // (N, C)
  int64_t N, M, C;
};

namespace reference {
void RowGather(const RowGatherArgs<double>& args);
void RowScatter(const RowScatterArgs<double>& args);
}  // namespace reference
namespace cpu {
template <typename T>  // float, bf16
absl::Status RowGather(const RowGatherArgs<T>& args);
template <typename T>
absl::Status RowScatter(const RowScatterArgs<T>& args);
}  // namespace cpu
namespace cuda {
// Copies only: float, bf16, fp16. A row beyond N traps.
template <typename T>
absl::Status RowGather(const RowGatherArgs<T>& args, Stream stream);
template <typename T>
absl::Status RowScatter(const RowScatterArgs<T>& args, Stream stream);
}  // namespace cuda

}  // namespace sluice
