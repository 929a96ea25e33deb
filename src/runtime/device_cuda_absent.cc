// A build without CUDA.
#include "core/error.h"
#include "runtime/device.h"

namespace sluice {

bool BuiltWithCuda() { return false; }

absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int /*local_rank*/) {
  return DeviceError("this sluice was built without CUDA", "runtime.device cuda",
                     "configure it where a CUDA toolkit is, with -DSLUICE_CUDA=ON");
}

}  // namespace sluice
