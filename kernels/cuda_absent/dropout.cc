#include "kernels/api/dropout.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status DropoutForward(const DropoutArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("DropoutForward");
}

template absl::Status DropoutForward(const DropoutArgs<float>&, Stream);
template absl::Status DropoutForward(const DropoutArgs<bf16>&, Stream);
template absl::Status DropoutForward(const DropoutArgs<fp16>&, Stream);

}  // namespace sluice::cuda
