// An HDF5 file that is being written, safe against writes that fail. HDF5 1.10 does not survive
// them: after a full disk its identifiers cannot be closed and the process crashes when it ends.
// So HDF5 writes through a driver that never tells it of a failure, but remembers the first one;
// the writer asks at the end, as with the C library's streams.
//
//   Hdf5OutputFile file(path, H5P_DEFAULT);
//   if (!file.valid()) return DataError("cannot create file", path, file.Error());
//   … H5Dcreate2(file.id(), …), H5Dwrite …
//   if (!file.Close()) return DataError("cannot write file", path, file.Error());
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "core/hdf5_handle.h"

namespace sluice {
namespace hdf5_output_internal {

// What a file and its owner share.
struct Outcome {
  int first_error = 0;  // errno of the first call that failed
};
struct DriverInfo {
  Outcome* outcome;
};

// The driver's file. HDF5 wants its own part first.
struct OutputFile {
  H5FD_t hdf5;
  int fd;
  haddr_t allocated;  // HDF5's end of the address space
  haddr_t end;        // of what was written, or would have been
  Outcome* outcome;
};

inline OutputFile* Of(H5FD_t* file) { return reinterpret_cast<OutputFile*>(file); }
inline const OutputFile* Of(const H5FD_t* file) {
  return reinterpret_cast<const OutputFile*>(file);
}

inline void Remember(OutputFile* file, bool failed) {
  if (failed && file->outcome->first_error == 0) {
    file->outcome->first_error = errno == 0 ? EIO : errno;
  }
}

inline H5FD_t* Open(const char* path, unsigned, hid_t access_properties, haddr_t) {
  const auto* info = static_cast<const DriverInfo*>(H5Pget_driver_info(access_properties));
  if (info == nullptr) return nullptr;
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    info->outcome->first_error = errno;
    return nullptr;
  }
  return reinterpret_cast<H5FD_t*>(new OutputFile{{}, fd, 0, 0, info->outcome});
}

inline herr_t Close(H5FD_t* base) {
  OutputFile* file = Of(base);
  Remember(file, close(file->fd) != 0);
  delete file;
  return 0;
}

inline herr_t Write(H5FD_t* base, H5FD_mem_t, hid_t, haddr_t address, size_t size,
                    const void* buffer) {
  OutputFile* file = Of(base);
  file->end = std::max(file->end, address + size);
  const char* bytes = static_cast<const char*>(buffer);
  while (size > 0 && file->outcome->first_error == 0) {
    const ssize_t written = pwrite(file->fd, bytes, size, static_cast<off_t>(address));
    if (written < 0 && errno == EINTR) continue;
    Remember(file, written < 0);
    if (written < 0) break;
    bytes += written;
    address += static_cast<haddr_t>(written);
    size -= static_cast<size_t>(written);
  }
  return 0;
}

// What was not written reads as zeros.
inline herr_t Read(H5FD_t* base, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer) {
  OutputFile* file = Of(base);
  char* bytes = static_cast<char*>(buffer);
  while (size > 0) {
    const ssize_t got = pread(file->fd, bytes, size, static_cast<off_t>(address));
    if (got < 0 && errno == EINTR) continue;
    Remember(file, got < 0);
    if (got <= 0) break;
    bytes += got;
    address += static_cast<haddr_t>(got);
    size -= static_cast<size_t>(got);
  }
  std::memset(bytes, 0, size);
  return 0;
}

inline herr_t Truncate(H5FD_t* base, hid_t, hbool_t) {
  OutputFile* file = Of(base);
  if (file->end != file->allocated && file->outcome->first_error == 0) {
    Remember(file, ftruncate(file->fd, static_cast<off_t>(file->allocated)) != 0);
  }
  file->end = file->allocated;
  return 0;
}

inline hid_t Driver() {
  static const hid_t driver = [] {
    H5FD_class_t definition = {};
    definition.name = "sluice output";
    definition.maxaddr = (haddr_t{1} << 62) - 1;
    definition.fc_degree = H5F_CLOSE_STRONG;
    definition.fapl_size = sizeof(DriverInfo);
    definition.open = Open;
    definition.close = Close;
    definition.query = [](const H5FD_t*, unsigned long* flags) -> herr_t {
      *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
               H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
      return 0;
    };
    definition.get_eoa = [](const H5FD_t* file, H5FD_mem_t) { return Of(file)->allocated; };
    definition.set_eoa = [](H5FD_t* file, H5FD_mem_t, haddr_t address) -> herr_t {
      Of(file)->allocated = address;
      return 0;
    };
    definition.get_eof = [](const H5FD_t* file, H5FD_mem_t) { return Of(file)->end; };
    definition.read = Read;
    definition.write = Write;
    definition.truncate = Truncate;
    constexpr H5FD_mem_t kDichotomy[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(kDichotomy), std::end(kDichotomy), definition.fl_map);
    return H5FDregister(&definition);
  }();
  return driver;
}

}  // namespace hdf5_output_internal

class Hdf5OutputFile {
 public:
  // Creates `path` anew. `creation_properties`: H5P_DEFAULT or a file creation property list.
  Hdf5OutputFile(const std::string& path, hid_t creation_properties)
      : outcome_(std::make_unique<hdf5_output_internal::Outcome>()) {
    SilenceHdf5();
    const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const hdf5_output_internal::DriverInfo info{outcome_.get()};
    if (!access.valid() || H5Pset_driver(access.id(), hdf5_output_internal::Driver(), &info) < 0) {
      return;
    }
    file_ = Hdf5Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation_properties, access.id()),
                       H5Fclose);
  }

  Hdf5OutputFile(Hdf5OutputFile&&) = default;
  Hdf5OutputFile& operator=(Hdf5OutputFile&&) = delete;

  bool valid() const { return file_.valid(); }
  hid_t id() const { return file_.id(); }

  // Whether everything so far is in the file, as far as HDF5 has written it.
  bool good() const { return outcome_->first_error == 0; }

  // Writes the rest and closes; true when all of it is in the file.
  bool Close() { return file_.Close() && good(); }

  // The system's reason of the first failure, else HDF5's of the last.
  std::string Error() const {
    return good() ? Hdf5ErrorText() : std::strerror(outcome_->first_error);
  }

 private:
  std::unique_ptr<hdf5_output_internal::Outcome> outcome_;  // outlives file_, which points to it
  Hdf5Handle file_;
};

}  // namespace sluice
