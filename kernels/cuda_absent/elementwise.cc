#include "kernels/api/elementwise.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status SumOfSquares(const SumOfSquaresArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("SumOfSquares");
}

int64_t SumOfSquaresWorkspaceBytes() { return 0; }

template <typename From, typename To>
absl::Status Convert(const From* /*x*/, To* /*y*/, int64_t /*count*/, Stream /*stream*/) {
  return Absent("Convert");
}
template <typename T>
absl::Status AddInPlace(const T* /*x*/, T* /*y*/, int64_t /*count*/, Stream /*stream*/) {
  return Absent("AddInPlace");
}
absl::Status ZeroFill(void* /*memory*/, int64_t /*bytes*/, Stream /*stream*/) {
  return Absent("ZeroFill");
}
absl::Status Copy(const void* /*from*/, void* /*to*/, int64_t /*bytes*/, Stream /*stream*/) {
  return Absent("Copy");
}

template absl::Status SumOfSquares(const SumOfSquaresArgs<float>&, Stream);
template absl::Status SumOfSquares(const SumOfSquaresArgs<bf16>&, Stream);
template absl::Status SumOfSquares(const SumOfSquaresArgs<fp16>&, Stream);
template absl::Status Convert(const float*, bf16*, int64_t, Stream);
template absl::Status Convert(const bf16*, float*, int64_t, Stream);
template absl::Status Convert(const float*, fp16*, int64_t, Stream);
template absl::Status Convert(const fp16*, float*, int64_t, Stream);
template absl::Status AddInPlace(const float*, float*, int64_t, Stream);
template absl::Status AddInPlace(const bf16*, bf16*, int64_t, Stream);
template absl::Status AddInPlace(const fp16*, fp16*, int64_t, Stream);

}  // namespace sluice::cuda
