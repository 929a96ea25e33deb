// Scalar attributes of an HDF5 object: 64-bit integers and short texts.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/hdf5_handle.h"

namespace sluice {

// False when HDF5 declines.
bool WriteIntegerAttribute(hid_t object, const char* name, int64_t value);
bool WriteTextAttribute(hid_t object, const char* name, const std::string& value);

// DataError, naming `where` and the attribute, when it is missing or not one integer (one text).
absl::StatusOr<int64_t> ReadIntegerAttribute(hid_t object, const char* name,
                                             const std::string& where);
absl::StatusOr<std::string> ReadTextAttribute(hid_t object, const char* name,
                                              const std::string& where);

}  // namespace sluice
