// Whole-buffer passes that have no better home: sums for norms, conversions, adding, filling.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

namespace reference {
// minus: (count), or null.
double SumOfSquares(const double* x, int64_t count, const double* minus = nullptr);
}  // namespace reference
namespace cpu {

// Σ x² in double. The same bits for any number of threads (fixed blocks, summed in order). NaN and
// infinity come through. With `minus` (count): Σ (x - minus)², differences in double.
template <typename T>  // float, bf16
double SumOfSquares(const T* x, int64_t count, const T* minus = nullptr);

// y = x, rounded to the nearest. float → bf16, bf16 → float.
template <typename From, typename To>
void Convert(const From* x, To* y, int64_t count);

// y += x.
template <typename T>
void AddInPlace(const T* x, T* y, int64_t count);

// Sets bytes to zero, in parallel.
void ZeroFill(void* memory, int64_t bytes);
// Copies bytes, in parallel.
void Copy(const void* from, void* to, int64_t bytes);

}  // namespace cpu
namespace cuda {

// *sum = Σ x² in double: sums of fixed stretches, summed in order, so the same bits every time.
template <typename T>
struct SumOfSquaresArgs {
  const T* x;  // (count)
  int64_t count;
  double* sum;               // (1), overwritten
  void* workspace;           // SumOfSquaresWorkspaceBytes(), 8 bytes aligned
  const T* minus = nullptr;  // (count), or null: with it Σ (x - minus)², differences in double
};
int64_t SumOfSquaresWorkspaceBytes();
template <typename T>  // float, bf16, fp16
absl::Status SumOfSquares(const SumOfSquaresArgs<T>& args, Stream stream);

// float to bf16 and fp16, and back.
template <typename From, typename To>
absl::Status Convert(const From* x, To* y, int64_t count, Stream stream);

template <typename T>  // float, bf16, fp16
absl::Status AddInPlace(const T* x, T* y, int64_t count, Stream stream);

absl::Status ZeroFill(void* memory, int64_t bytes, Stream stream);
absl::Status Copy(const void* from, void* to, int64_t bytes, Stream stream);

}  // namespace cuda
}  // namespace sluice
