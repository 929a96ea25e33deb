// Batches are read from HDF5 files in one thread while checkpoints are written in another.
#pragma once

#include "absl/status/status.h"
#include "core/error.h"
#include "core/hdf5_handle.h"

namespace sluice {

// DeviceError when the HDF5 library is built for one thread only.
inline absl::Status CheckHdf5IsThreadSafe() {
  hbool_t thread_safe = false;
  if (H5is_library_threadsafe(&thread_safe) >= 0 && thread_safe) return absl::OkStatus();
  return DeviceError("the HDF5 library is not thread-safe",
                     "batches are read while checkpoints are written; use one built with "
                     "--enable-threadsafe, such as Debian's libhdf5-103-1");
}

}  // namespace sluice
