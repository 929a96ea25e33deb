#include "data/hdf5_memory_file.h"

#include <cstdlib>
#include <cstring>

namespace sluice {

// The buffer of HDF5's core driver. H5Fget_file_image would copy it, and spoils the checksum of the
// superblock; so the callback that should free the buffer at the file's end keeps it instead.
struct Hdf5MemoryFile::Image {
  void* kept = nullptr;

  ~Image() { std::free(kept); }

  static void* Allocate(size_t size, H5FD_file_image_op_t, void*) { return std::malloc(size); }
  static void* Copy(void* to, const void* from, size_t size, H5FD_file_image_op_t, void*) {
    return std::memcpy(to, from, size);
  }
  static void* Grow(void* buffer, size_t size, H5FD_file_image_op_t, void*) {
    return std::realloc(buffer, size);
  }
  static herr_t Free(void* buffer, H5FD_file_image_op_t operation, void* image) {
    if (operation == H5FD_FILE_IMAGE_OP_FILE_CLOSE) {
      static_cast<Image*>(image)->kept = buffer;
    } else {
      std::free(buffer);
    }
    return 0;
  }
  // HDF5 copies property lists; all copies speak of the same image.
  static void* Share(void* image) { return image; }
  static herr_t Unshare(void*) { return 0; }
};

Hdf5MemoryFile::Hdf5MemoryFile() : image_(std::make_unique<Image>()) {}
Hdf5MemoryFile::~Hdf5MemoryFile() = default;

bool Hdf5MemoryFile::Open() {
  constexpr size_t kGrowthBytes = size_t{8} << 20;
  H5FD_file_image_callbacks_t callbacks = {Image::Allocate, Image::Copy,  Image::Grow,
                                           Image::Free,     Image::Share, Image::Unshare,
                                           image_.get()};
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // Structures as HDF5 1.10 writes them have checksums of their own; older ones have none, and the
  // library may read beyond its memory when they are damaged.
  if (!access.valid() || H5Pset_fapl_core(access.id(), kGrowthBytes, /*backing_store=*/0) < 0 ||
      H5Pset_file_image_callbacks(access.id(), &callbacks) < 0 ||
      H5Pset_libver_bounds(access.id(), H5F_LIBVER_V110, H5F_LIBVER_V110) < 0) {
    return false;
  }
  // Without the time of day in the root group, the same data gives the same bytes.
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  if (!creation.valid() || H5Pset_obj_track_times(creation.id(), false) < 0) return false;
  file_ = Hdf5Handle(H5Fcreate("memory", H5F_ACC_TRUNC, creation.id(), access.id()), H5Fclose);
  return file_.valid();
}

bool Hdf5MemoryFile::Close(absl::string_view* bytes) {
  // The end of what the file uses; the buffer, which H5Fget_filesize would give, is longer.
  if (H5Fflush(file_.id(), H5F_SCOPE_GLOBAL) < 0) return false;
  const ssize_t size = H5Fget_file_image(file_.id(), nullptr, 0);
  if (size <= 0 || !file_.Close() || image_->kept == nullptr) return false;
  *bytes = absl::string_view(static_cast<const char*>(image_->kept), static_cast<size_t>(size));
  return true;
}

}  // namespace sluice
