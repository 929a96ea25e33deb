// What every CUDA launcher answers in a build without CUDA.
#pragma once

#include "absl/status/status.h"
#include "core/error.h"

namespace sluice::cuda {

inline absl::Status Absent(const char* op) {
  return DeviceError("this sluice was built without CUDA", op,
                     "configure it where a CUDA toolkit is, with -DSLUICE_CUDA=ON");
}

}  // namespace sluice::cuda
