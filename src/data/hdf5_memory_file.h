// An HDF5 file that is built in memory. HDF5 cannot give up cleanly on a file whose disk is full;
// bytes in memory we can write ourselves, and see every error.
//
//   Hdf5MemoryFile file;
//   if (!file.Open()) …;
//   … H5Dcreate2(file.id(), …) …;          // close all datasets before the file
//   absl::string_view bytes;
//   if (!file.Close(&bytes)) …;            // Hdf5ErrorText() says why
#pragma once

#include <memory>

#include "absl/strings/string_view.h"
#include "core/hdf5_handle.h"

namespace sluice {

class Hdf5MemoryFile {
 public:
  Hdf5MemoryFile();
  ~Hdf5MemoryFile();
  Hdf5MemoryFile(const Hdf5MemoryFile&) = delete;
  Hdf5MemoryFile& operator=(const Hdf5MemoryFile&) = delete;

  // False when HDF5 declines.
  bool Open();
  hid_t id() const { return file_.id(); }

  // Closes it; `bytes` are the whole file and live as long as this object.
  bool Close(absl::string_view* bytes);

 private:
  struct Image;
  std::unique_ptr<Image> image_;  // outlives file_, which writes to it until it is closed
  Hdf5Handle file_;
};

}  // namespace sluice
