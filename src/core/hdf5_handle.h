// Ownership of HDF5 identifiers, and HDF5's own words about what went wrong. Everything else of
// HDF5 is called directly, so that its documentation applies. Who includes this links
// ${HDF5_C_LIBRARIES}.
//
//   SilenceHdf5();  // once a thread, before its first call: HDF5 prints errors to stderr otherwise
//   Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
//   if (!file.valid()) return DataError("cannot open shard", path, Hdf5ErrorText());
#pragma once

#include <string>
#include <utility>

#include "hdf5.h"

namespace sluice {

// Owns one identifier: file, group, dataset, dataspace, datatype, attribute or property list.
class Hdf5Handle {
 public:
  using Closer = herr_t (*)(hid_t);

  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), closer_(other.closer_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      Close();
      id_ = std::exchange(other.id_, H5I_INVALID_HID);
      closer_ = other.closer_;
    }
    return *this;
  }
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;
  ~Hdf5Handle() { Close(); }

  bool valid() const { return id_ >= 0; }
  hid_t id() const { return id_; }

  // False when HDF5 fails to close, which for a file that was written means lost data: writers ask.
  bool Close() {
    if (!valid()) return true;
    return closer_(std::exchange(id_, H5I_INVALID_HID)) >= 0;
  }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Closer closer_ = nullptr;
};

// Stops HDF5 from printing its error stack to stderr, for the calling thread.
inline void SilenceHdf5() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

// The innermost reason of the last failed call on this thread, e.g. "file signature not found"; ""
// when there is none.
inline std::string Hdf5ErrorText() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* data) -> herr_t {
        auto* found = static_cast<std::string*>(data);
        if (found->empty() && error->desc != nullptr) *found = error->desc;
        return 0;
      },
      &text);
  return text;
}

}  // namespace sluice
