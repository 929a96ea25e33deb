#include "kernels/api/adamw.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status AdamW(const AdamWArgs<T>& /*args*/, const UpdateDeviceArgs& /*device*/,
                   Stream /*stream*/) {
  return Absent("AdamW");
}

template absl::Status AdamW(const AdamWArgs<float>&, const UpdateDeviceArgs&, Stream);
template absl::Status AdamW(const AdamWArgs<bf16>&, const UpdateDeviceArgs&, Stream);
template absl::Status AdamW(const AdamWArgs<fp16>&, const UpdateDeviceArgs&, Stream);

}  // namespace sluice::cuda
