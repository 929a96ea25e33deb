// Memory that is not there, as an error: the standard library can say it only by an exception.
#pragma once

#include <new>
#include <stdexcept>

#include "absl/status/status.h"
#include "core/error.h"

namespace sluice {

// What `run` returns, or a DeviceError ("out of memory") when an allocation failed or was asked for
// more than any container holds; then `ran_out`, unless null, is set.
template <typename Run>
absl::Status CatchOutOfMemory(const Run& run, bool* ran_out = nullptr) {
  try {
    return run();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  if (ran_out != nullptr) *ran_out = true;
  return DeviceError("out of memory");
}

}  // namespace sluice
