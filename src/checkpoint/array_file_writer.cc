#include <algorithm>

#include "absl/strings/str_cat.h"
#include "checkpoint/array_file.h"
#include "checkpoint/checkpoint_format.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

constexpr int64_t kChunkElements = 1 << 18;  // 1 MiB of floats

// Whole rows of the inner dimensions, up to kChunkElements.
std::vector<hsize_t> ChunkDims(const std::vector<int64_t>& dims) {
  std::vector<hsize_t> chunk(dims.size());
  int64_t left = kChunkElements;
  for (size_t axis = dims.size(); axis-- > 0;) {
    const int64_t length = std::clamp<int64_t>(left, 1, dims[axis]);
    chunk[axis] = static_cast<hsize_t>(length);
    left /= length;
  }
  return chunk;
}

// New groups and the file itself keep the order of creation and no times.
bool SetGroupProperties(hid_t properties) {
  return H5Pset_link_creation_order(properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) >=
             0 &&
         H5Pset_obj_track_times(properties, false) >= 0;
}

bool WriteHeader(hid_t file, const std::string& kind) {
  const Hdf5Handle scalar(H5Screate(H5S_SCALAR), H5Sclose);
  const Hdf5Handle text_type(H5Tcopy(H5T_C_S1), H5Tclose);
  if (H5Tset_size(text_type.id(), kind.size()) < 0) return false;
  if (H5Tset_strpad(text_type.id(), H5T_STR_NULLPAD) < 0) return false;
  const Hdf5Handle kind_attribute(
      H5Acreate2(file, kKindAttribute, text_type.id(), scalar.id(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  const Hdf5Handle version_attribute(
      H5Acreate2(file, kVersionAttribute, H5T_STD_I64LE, scalar.id(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  return kind_attribute.valid() && version_attribute.valid() &&
         H5Awrite(kind_attribute.id(), text_type.id(), kind.data()) >= 0 &&
         H5Awrite(version_attribute.id(), H5T_NATIVE_INT64, &kCheckpointFormatVersion) >= 0;
}

}  // namespace

absl::Status ArrayFileWriter::Error(const char* what, const std::string& name) const {
  return DeviceError(what, name.empty() ? path_ : absl::StrCat(path_, "/", name), file_.Error());
}

absl::StatusOr<ArrayFileWriter> ArrayFileWriter::Create(const std::string& path,
                                                        const std::string& kind) {
  SilenceHdf5();
  const Hdf5Handle properties(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  CHECK(properties.valid() && SetGroupProperties(properties.id()));
  ArrayFileWriter writer(path, Hdf5OutputFile(path, properties.id()));
  if (!writer.file_.valid()) return writer.Error("cannot create HDF5 file", "");
  if (!WriteHeader(writer.file_.id(), kind)) return writer.Error("cannot write HDF5 header", "");
  return writer;
}

absl::Status ArrayFileWriter::WriteDataset(const std::string& name,
                                           const std::vector<int64_t>& dims, hid_t file_type,
                                           hid_t memory_type, const void* values) {
  SilenceHdf5();
  const size_t slash = name.find('/');
  if (slash != std::string::npos &&
      H5Lexists(file_.id(), name.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) {
    const Hdf5Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
    CHECK(properties.valid() && SetGroupProperties(properties.id()));
    const Hdf5Handle group(H5Gcreate2(file_.id(), name.substr(0, slash).c_str(), H5P_DEFAULT,
                                      properties.id(), H5P_DEFAULT),
                           H5Gclose);
    if (!group.valid()) return Error("cannot create group", name);
  }
  const std::vector<hsize_t> extent(dims.begin(), dims.end());
  const Hdf5Handle space(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
                         H5Sclose);
  const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  CHECK(space.valid() && properties.valid()) << name;
  CHECK(H5Pset_chunk(properties.id(), static_cast<int>(dims.size()), ChunkDims(dims).data()) >= 0);
  CHECK(H5Pset_fletcher32(properties.id()) >= 0);
  CHECK(H5Pset_obj_track_times(properties.id(), false) >= 0);
  Hdf5Handle dataset(H5Dcreate2(file_.id(), name.c_str(), file_type, space.id(), H5P_DEFAULT,
                                properties.id(), H5P_DEFAULT),
                     H5Dclose);
  if (!dataset.valid()) return Error("cannot create dataset", name);
  if (H5Dwrite(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    return Error("cannot write array", name);
  }
  return dataset.Close() && file_.good() ? absl::OkStatus() : Error("cannot write array", name);
}

absl::Status ArrayFileWriter::Write(const std::string& name, const std::vector<int64_t>& dims,
                                    std::span<const float> values) {
  return WriteDataset(name, dims, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, values.data());
}
absl::Status ArrayFileWriter::Write(const std::string& name, const std::vector<int64_t>& dims,
                                    std::span<const double> values) {
  return WriteDataset(name, dims, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, values.data());
}
absl::Status ArrayFileWriter::Write(const std::string& name, const std::vector<int64_t>& dims,
                                    std::span<const int64_t> values) {
  return WriteDataset(name, dims, H5T_STD_I64LE, H5T_NATIVE_INT64, values.data());
}

absl::Status ArrayFileWriter::WriteTexts(const std::string& name,
                                         const std::vector<std::string>& texts) {
  size_t width = 1;
  for (const std::string& text : texts) width = std::max(width, text.size());
  std::string padded(width * texts.size(), '\0');
  for (size_t i = 0; i < texts.size(); ++i) texts[i].copy(padded.data() + i * width, width);
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  CHECK(H5Tset_size(type.id(), width) >= 0 && H5Tset_strpad(type.id(), H5T_STR_NULLPAD) >= 0);
  return WriteDataset(name, {static_cast<int64_t>(texts.size())}, type.id(), type.id(),
                      padded.data());
}

absl::Status ArrayFileWriter::Close() {
  SilenceHdf5();
  return file_.Close() ? absl::OkStatus() : Error("cannot write HDF5 file", "");
}

}  // namespace sluice
