#include "data/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

absl::Status FileError(const char* what, const std::string& path) {
  return DeviceError(what, path, std::strerror(errno));
}

// Closes at the end of the scope, unless Close() did, which reports.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { Close(); }
  int get() const { return fd_; }
  bool Close() {
    const int fd = fd_;
    fd_ = -1;
    return fd < 0 || close(fd) == 0;
  }

 private:
  int fd_;
};

absl::Status WriteAndSync(const std::string& path, absl::string_view bytes) {
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) return FileError("cannot create file", path);
  while (!bytes.empty()) {
    const ssize_t written = write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("cannot write file", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (fsync(file.get()) != 0) return FileError("cannot sync file", path);
  if (!file.Close()) return FileError("cannot close file", path);
  return absl::OkStatus();
}

absl::Status SyncFolderOf(const std::string& path) {
  const std::string folder = std::filesystem::absolute(path).parent_path().string();
  FileDescriptor file(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() < 0) return FileError("cannot open folder", folder);
  // Some network file systems cannot sync a folder and say EINVAL; the rename stands all the same.
  if (fsync(file.get()) != 0 && errno != EINVAL) return FileError("cannot sync folder", folder);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes) {
  const std::string partial = absl::StrCat(path, kPartialFileEnding);
  absl::Status status = WriteAndSync(partial, bytes);
  if (status.ok() && rename(partial.c_str(), path.c_str()) != 0) {
    status = FileError("cannot rename file", partial);
  }
  if (!status.ok()) {
    unlink(partial.c_str());
    return status;
  }
  return SyncFolderOf(path);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found) return DataError("file does not exist", path);
  if (kind == std::filesystem::file_type::directory) {
    return DataError("is a folder, not a file", path);
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return DataError("cannot open file", path, std::strerror(errno));
  std::ostringstream bytes;
  bytes << in.rdbuf();
  if (in.bad() || (bytes.fail() && std::filesystem::file_size(path, error) != 0)) {
    return DataError("cannot read file", path);
  }
  return std::move(bytes).str();
}

}  // namespace sluice
