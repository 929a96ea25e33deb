#include "kernels/api/row_moments.h"

#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status RowMoments(const RowMomentsArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("RowMoments");
}

template absl::Status RowMoments(const RowMomentsArgs<float>& args, Stream stream);
template absl::Status RowMoments(const RowMomentsArgs<bf16>& args, Stream stream);
template absl::Status RowMoments(const RowMomentsArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
