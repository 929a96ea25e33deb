#include "kernels/api/row_gather.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status RowGather(const RowGatherArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("RowGather");
}
template <typename T>
absl::Status RowScatter(const RowScatterArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("RowScatter");
}

template absl::Status RowGather(const RowGatherArgs<float>&, Stream);
template absl::Status RowGather(const RowGatherArgs<bf16>&, Stream);
template absl::Status RowGather(const RowGatherArgs<fp16>&, Stream);
template absl::Status RowScatter(const RowScatterArgs<float>&, Stream);
template absl::Status RowScatter(const RowScatterArgs<bf16>&, Stream);
template absl::Status RowScatter(const RowScatterArgs<fp16>&, Stream);

}  // namespace sluice::cuda
