#include "kernels/api/adamw.h"

#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status AdamW(const AdamWArgs<T>& /*args*/, const AdamWDeviceArgs& /*device*/,
                   Stream /*stream*/) {
  return Absent("AdamW");
}

absl::Status DecideUpdate(const DecideUpdateArgs& /*args*/, Stream /*stream*/) {
  return Absent("DecideUpdate");
}

template absl::Status AdamW(const AdamWArgs<float>&, const AdamWDeviceArgs&, Stream);
template absl::Status AdamW(const AdamWArgs<bf16>&, const AdamWDeviceArgs&, Stream);
template absl::Status AdamW(const AdamWArgs<fp16>&, const AdamWDeviceArgs&, Stream);

}  // namespace sluice::cuda
