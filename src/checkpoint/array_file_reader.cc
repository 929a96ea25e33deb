#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "checkpoint/array_file.h"
#include "checkpoint/checkpoint_format.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

ArrayEntry::Type TypeOf(hid_t type) {
  if (H5Tequal(type, H5T_IEEE_F32LE) > 0) return ArrayEntry::Type::kFloat32;
  if (H5Tequal(type, H5T_IEEE_F64LE) > 0) return ArrayEntry::Type::kFloat64;
  if (H5Tequal(type, H5T_STD_I64LE) > 0) return ArrayEntry::Type::kInt64;
  if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0) {
    return ArrayEntry::Type::kText;
  }
  return ArrayEntry::Type::kOther;
}

const char* NameOf(ArrayEntry::Type type) {
  static constexpr const char* kNames[] = {"fp32", "fp64", "int64", "text", "another type"};
  return kNames[static_cast<int>(type)];
}

// A fixed-length text attribute of at most 255 bytes; "" when there is none.
std::string TextAttribute(hid_t object, const char* name) {
  if (H5Aexists(object, name) <= 0) return "";
  const Hdf5Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
  const Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  const size_t size = type.valid() ? H5Tget_size(type.id()) : 0;
  if (size == 0 || size > 255 || TypeOf(type.id()) != ArrayEntry::Type::kText ||
      H5Aget_storage_size(attribute.id()) != size) {
    return "";
  }
  std::string text(size, '\0');
  if (H5Aread(attribute.id(), type.id(), text.data()) < 0) return "";
  return text.c_str();
}

// -1 when there is none.
int64_t IntegerAttribute(hid_t object, const char* name) {
  if (H5Aexists(object, name) <= 0) return -1;
  const Hdf5Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
  int64_t value = -1;
  if (H5Aget_storage_size(attribute.id()) != sizeof(value) ||
      H5Aread(attribute.id(), H5T_NATIVE_INT64, &value) < 0) {
    return -1;
  }
  return value;
}

}  // namespace

int64_t ArrayEntry::elements() const {
  int64_t product = 1;
  for (const int64_t dim : dims) product *= dim;
  return product;
}

std::string ArrayEntry::ShapeText() const {
  return absl::StrCat("(", absl::StrJoin(dims, ", "), ")");
}

absl::Status ArrayFileReader::Error(const char* what, const std::string& name) const {
  return CheckpointError(what, name.empty() ? path_ : absl::StrCat(path_, "/", name),
                         Hdf5ErrorText());
}

absl::StatusOr<ArrayFileReader> ArrayFileReader::Open(const std::string& path,
                                                      const std::string& kind) {
  SilenceHdf5();
  ArrayFileReader reader(path,
                         Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose));
  if (!reader.file_.valid()) return reader.Error("cannot open HDF5 file", "");
  RETURN_IF_ERROR(reader.CheckHeader(kind));
  RETURN_IF_ERROR(reader.ListGroup(""));
  return reader;
}

absl::Status ArrayFileReader::CheckHeader(const std::string& kind) const {
  const std::string found = TextAttribute(file_.id(), kKindAttribute);
  if (found != kind) {
    return CheckpointError("is another kind of file", path_,
                           absl::StrCat("expected \"", kind, "\", found \"", found, "\""));
  }
  const int64_t version = IntegerAttribute(file_.id(), kVersionAttribute);
  if (version != kCheckpointFormatVersion) {
    return CheckpointError(
        "unknown format version", path_,
        absl::StrCat(version, ", this program reads ", kCheckpointFormatVersion));
  }
  return absl::OkStatus();
}

absl::Status ArrayFileReader::ListGroup(const std::string& group) {
  const Hdf5Handle handle(H5Gopen2(file_.id(), group.empty() ? "/" : group.c_str(), H5P_DEFAULT),
                          H5Gclose);
  H5G_info_t info;
  if (!handle.valid() || H5Gget_info(handle.id(), &info) < 0) {
    return Error("cannot list group", group);
  }
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    char link[1024];
    const ssize_t length = H5Lget_name_by_idx(handle.id(), ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i,
                                              link, sizeof(link), H5P_DEFAULT);
    if (length < 0 || length >= static_cast<ssize_t>(sizeof(link))) {
      return Error("cannot list group", group);
    }
    const std::string name = group.empty() ? link : absl::StrCat(group, "/", link);
    const Hdf5Handle object(H5Oopen(handle.id(), link, H5P_DEFAULT), H5Oclose);
    if (!object.valid()) return Error("cannot open object", name);
    if (H5Iget_type(object.id()) == H5I_DATASET) {
      RETURN_IF_ERROR(AddEntry(name, object.id()));
    } else if (H5Iget_type(object.id()) == H5I_GROUP && group.empty()) {
      RETURN_IF_ERROR(ListGroup(name));
    } else {
      return CheckpointError("unexpected kind of object", absl::StrCat(path_, "/", name));
    }
  }
  return absl::OkStatus();
}

absl::Status ArrayFileReader::AddEntry(const std::string& name, hid_t dataset) {
  const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
  const Hdf5Handle type(H5Dget_type(dataset), H5Tclose);
  const int rank = space.valid() ? H5Sget_simple_extent_ndims(space.id()) : -1;
  if (!type.valid() || rank < 0 || rank > Shape::kMaxRank) {
    return Error("array has no usable shape", name);
  }
  std::vector<hsize_t> dims(rank);
  if (rank > 0 && H5Sget_simple_extent_dims(space.id(), dims.data(), nullptr) < 0) {
    return Error("array has no usable shape", name);
  }
  index_[name] = entries_.size();
  entries_.push_back({name, {dims.begin(), dims.end()}, TypeOf(type.id())});
  return absl::OkStatus();
}

const ArrayEntry* ArrayFileReader::Find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

absl::Status ArrayFileReader::ReadDataset(const std::string& name, ArrayEntry::Type type,
                                          hid_t memory_type, size_t elements, void* values) const {
  SilenceHdf5();
  const ArrayEntry* entry = Find(name);
  const std::string where = absl::StrCat(path_, "/", name);
  if (entry == nullptr) return CheckpointError("array is missing", where);
  if (entry->type != type) {
    return CheckpointError(
        "array has another type", where,
        absl::StrCat("expected ", NameOf(type), ", found ", NameOf(entry->type)));
  }
  if (entry->elements() != static_cast<int64_t>(elements)) {
    return CheckpointError(
        "array has another size", where,
        absl::StrCat("expected ", elements, " values, found ", entry->ShapeText()));
  }
  const Hdf5Handle dataset(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.valid()) return Error("cannot open array", name);
  if (H5Dread(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    return Error("cannot read array", name);
  }
  return absl::OkStatus();
}

absl::Status ArrayFileReader::Read(const std::string& name, std::span<float> values) const {
  return ReadDataset(name, ArrayEntry::Type::kFloat32, H5T_NATIVE_FLOAT, values.size(),
                     values.data());
}
absl::Status ArrayFileReader::Read(const std::string& name, std::span<double> values) const {
  return ReadDataset(name, ArrayEntry::Type::kFloat64, H5T_NATIVE_DOUBLE, values.size(),
                     values.data());
}
absl::Status ArrayFileReader::Read(const std::string& name, std::span<int64_t> values) const {
  return ReadDataset(name, ArrayEntry::Type::kInt64, H5T_NATIVE_INT64, values.size(),
                     values.data());
}

absl::StatusOr<std::vector<std::string>> ArrayFileReader::ReadTexts(const std::string& name) const {
  const ArrayEntry* entry = Find(name);
  if (entry == nullptr) return CheckpointError("array is missing", absl::StrCat(path_, "/", name));
  const Hdf5Handle dataset(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  const Hdf5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  const size_t width = type.valid() ? H5Tget_size(type.id()) : 0;
  const auto count = static_cast<size_t>(entry->elements());
  if (width == 0 || width > 4096 || count > 4096) return Error("text array is too long", name);
  std::string padded(width * count, '\0');
  RETURN_IF_ERROR(ReadDataset(name, ArrayEntry::Type::kText, type.id(), count, padded.data()));
  std::vector<std::string> texts;
  for (size_t i = 0; i < count; ++i) {
    const char* begin = padded.data() + i * width;
    texts.emplace_back(begin, strnlen(begin, width));
  }
  return texts;
}

}  // namespace sluice
