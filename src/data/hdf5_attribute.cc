#include "data/hdf5_attribute.h"

#include <algorithm>

#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

// No header text of ours is longer; a longer one is damage.
constexpr size_t kLongestText = 4096;

absl::StatusOr<Hdf5Handle> OpenScalar(hid_t object, const char* name, const std::string& where) {
  if (H5Aexists(object, name) <= 0) return DataError("attribute is missing", where, name);
  Hdf5Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
  if (!attribute.valid()) return DataError("cannot open attribute", where, name);
  const Hdf5Handle space(H5Aget_space(attribute.id()), H5Sclose);
  if (!space.valid() || H5Sget_simple_extent_npoints(space.id()) != 1) {
    return DataError("attribute is not a single value", where, name);
  }
  return attribute;
}

}  // namespace

bool WriteIntegerAttribute(hid_t object, const char* name, int64_t value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Hdf5Handle attribute(
      H5Acreate2(object, name, H5T_STD_I64LE, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  return attribute.valid() && H5Awrite(attribute.id(), H5T_NATIVE_INT64, &value) >= 0;
}

bool WriteTextAttribute(hid_t object, const char* name, const std::string& value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  if (H5Tset_size(type.id(), std::max<size_t>(1, value.size())) < 0 ||
      H5Tset_strpad(type.id(), H5T_STR_NULLPAD) < 0 || H5Tset_cset(type.id(), H5T_CSET_UTF8) < 0) {
    return false;
  }
  const Hdf5Handle attribute(
      H5Acreate2(object, name, type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  return attribute.valid() && H5Awrite(attribute.id(), type.id(), value.c_str()) >= 0;
}

absl::StatusOr<int64_t> ReadIntegerAttribute(hid_t object, const char* name,
                                             const std::string& where) {
  ASSIGN_OR_RETURN(const Hdf5Handle attribute, OpenScalar(object, name, where));
  const Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  int64_t value = 0;
  if (!type.valid() || H5Tget_class(type.id()) != H5T_INTEGER ||
      H5Aread(attribute.id(), H5T_NATIVE_INT64, &value) < 0) {
    return DataError("attribute is not an integer", where, name);
  }
  return value;
}

absl::StatusOr<std::string> ReadTextAttribute(hid_t object, const char* name,
                                              const std::string& where) {
  ASSIGN_OR_RETURN(const Hdf5Handle attribute, OpenScalar(object, name, where));
  const Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  if (!type.valid() || H5Tget_class(type.id()) != H5T_STRING) {
    return DataError("attribute is not a text", where, name);
  }
  if (H5Tis_variable_str(type.id()) > 0) {  // what h5py writes
    char* text = nullptr;
    if (H5Aread(attribute.id(), type.id(), &text) < 0 || text == nullptr) {
      return DataError("cannot read attribute", where, name);
    }
    std::string value(text);
    H5free_memory(text);
    return value;
  }
  const size_t size = H5Tget_size(type.id());
  if (size == 0 || size > kLongestText) return DataError("attribute is too long", where, name);
  std::string value(size, '\0');
  if (H5Aread(attribute.id(), type.id(), value.data()) < 0) {
    return DataError("cannot read attribute", where, name);
  }
  value.resize(value.find('\0') == std::string::npos ? size : value.find('\0'));
  return value;
}

}  // namespace sluice
