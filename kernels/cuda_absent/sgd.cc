#include "kernels/api/sgd.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status Sgd(const SgdArgs<T>& /*args*/, const UpdateDeviceArgs& /*device*/,
                 Stream /*stream*/) {
  return Absent("Sgd");
}

template absl::Status Sgd(const SgdArgs<float>&, const UpdateDeviceArgs&, Stream);
template absl::Status Sgd(const SgdArgs<bf16>&, const UpdateDeviceArgs&, Stream);
template absl::Status Sgd(const SgdArgs<fp16>&, const UpdateDeviceArgs&, Stream);

}  // namespace sluice::cuda
